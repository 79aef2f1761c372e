"""`jaxviz.figures`: the right pixels in the right places, written whole or not at all."""

import errno
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxviz import figures, images

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), np.uint8)
MAPS = np.random.default_rng(1).exponential(size=(4, 224, 224)).astype(np.float32)
CAPTIONS = ["Egyptian cat, 93.1%", "espresso, 50.0%", "stingray, 99.9%\nat most 12 of 255 levels", "hay"]


def shown(axes) -> np.ndarray:
    (picture,) = axes.get_images()
    return np.asarray(picture.get_array())


@pytest.mark.parametrize("n", [1, 4])
def test_saliency_figure(n):
    figure = figures.saliency_figure(images.from_uint8(PICTURES[:n]), MAPS[:n], CAPTIONS[:n])
    assert len(figure.axes) == 2 * n
    for column, (above, below) in enumerate(zip(figure.axes[:n], figure.axes[n:], strict=True)):
        np.testing.assert_array_equal(shown(above), PICTURES[column])
        np.testing.assert_array_equal(shown(below), MAPS[column])
        assert above.get_xlabel() == CAPTIONS[column]
        low, white = below.get_images()[0].get_clim()
        assert low == 0
        assert white == pytest.approx(np.percentile(MAPS[column], 99.5))
        assert below.get_xlabel() == f"saliency, white from {white:.2g}"


def test_saliency_figure_of_few_pixels_or_none(tmp_path):
    sparse = np.zeros((2, 224, 224), np.float32)
    sparse[0, 100, 100] = 7  # the 99.5th percentile is 0, and the pixel has to be seen nevertheless
    figure = figures.saliency_figure(images.from_uint8(PICTURES[:2]), sparse, CAPTIONS[:2])
    colors = [
        axes.get_images()[0].to_rgba(values)[..., :3] for axes, values in zip(figure.axes[2:], sparse, strict=True)
    ]
    assert colors[0][100, 100].min() == 1  # white
    assert colors[0][0, 0].max() < 0.1
    assert colors[1].max() < 0.1
    figures.save(tmp_path / "figure.png", figure)


def test_fooling_figure():
    figure = figures.fooling_figure(list(PICTURES), CAPTIONS)
    for axes, picture, caption in zip(figure.axes, PICTURES, CAPTIONS, strict=True):
        np.testing.assert_array_equal(shown(axes), picture)
        assert axes.get_xlabel() == caption


@pytest.mark.parametrize(
    "make",
    [
        lambda: figures.saliency_figure(images.from_uint8(PICTURES[:2]), MAPS[:2], ["one"]),
        lambda: figures.saliency_figure(images.from_uint8(PICTURES[:2]), MAPS[:1], CAPTIONS[:2]),
        lambda: figures.fooling_figure(list(PICTURES[:3]), CAPTIONS),
    ],
)
def test_as_many_captions_as_pictures(make):
    with pytest.raises(ValueError, match="zip"):
        make()


def test_difference_picture():
    original = np.array([[[0, 100, 255]]], np.uint8)
    changed = np.array([[[255, 104, 251]]], np.uint8)
    np.testing.assert_array_equal(figures.difference_picture(original, changed), [[[255, 132, 124]]])
    np.testing.assert_array_equal(figures.difference_picture(original, changed, gain=10.0), [[[255, 168, 88]]])
    np.testing.assert_array_equal(figures.difference_picture(changed, original, gain=0.5), [[[0, 126, 130]]])
    assert (figures.difference_picture(original, original, gain=10.0) == 128).all()


def test_no_picture_is_scaled_down(tmp_path):
    figure = figures.saliency_figure(images.from_uint8(PICTURES), MAPS, CAPTIONS)
    figures.save(tmp_path / "figure.png", figure)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == tuple(figure.get_size_inches() * 100)
    for axes in figure.axes:
        assert min(axes.get_window_extent().size) >= 224


@pytest.mark.parametrize("name", ["figure.png", "figure.pdf", "figure.svg", "figure.jpg"])
def test_save(tmp_path, name):
    figures.save(str(tmp_path / name), figures.fooling_figure(list(PICTURES), CAPTIONS))
    (written,) = tmp_path.iterdir()
    assert written.name == name
    assert written.stat().st_size > 1000


def test_save_refuses_a_suffix(tmp_path):
    with pytest.raises(ValueError, match="nonsense"):
        figures.save(tmp_path / "figure.nonsense", figures.fooling_figure(list(PICTURES), CAPTIONS))
    assert not list(tmp_path.iterdir())


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full_disk(self, file, **options):
        Path(file).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        figures.save(path, figures.fooling_figure(list(PICTURES), CAPTIONS))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_kept_to_be_displayed():
    figures.fooling_figure(list(PICTURES), CAPTIONS)
    figures.saliency_figure(images.from_uint8(PICTURES), MAPS, CAPTIONS)
    assert not plt.get_fignums()
