"""What the report measures, in closed form."""

import io

import jax
import numpy as np
import pytest
from PIL import Image

from jaxviz import figures
from jaxviz.report import metrics, network
from jaxviz.report.drawing import outlined
from jaxviz.report.study import Photo, Study
from jaxviz.report.topics.faithfulness import along_gradient
from jaxviz.report.topics.fooling import choose_targets
from jaxviz.report.topics.sanity_checks import randomized

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (16, 12, 3), np.uint8)


def test_rank_correlation():
    values = RANDOM.normal(size=(5, 4))
    assert metrics.rank_correlation(values, np.exp(3 * values)) == pytest.approx(1)
    assert metrics.rank_correlation(values, -values) == pytest.approx(-1)
    assert metrics.rank_correlation(np.array([1, 2, 3]), np.array([1, 3, 2])) == pytest.approx(0.5)
    # ties share their rank: 1.5, 1.5, 3 against 1, 2, 3
    assert metrics.rank_correlation(np.array([0, 0, 7]), np.array([1, 2, 3])) == pytest.approx(3**0.5 / 2)
    assert metrics.rank_correlation(values, np.zeros((5, 4))) is None


def test_roughness():
    assert metrics.roughness(np.full((6, 6), 3.0)) == 0
    assert metrics.roughness(np.indices((6, 6)).sum(0) % 2) == pytest.approx(2)  # a chessboard
    assert metrics.roughness(RANDOM.exponential(size=(400, 400))) == pytest.approx(1, abs=0.02)
    assert metrics.roughness(np.zeros((3, 3))) == 0


def brute_force_box(values: np.ndarray, share: float) -> tuple[int, float]:
    """Area of the smallest box, and the most that one of that area holds."""
    h, w = values.shape
    boxes = [
        ((bottom - top) * (right - left), -values[top:bottom, left:right].sum())
        for top in range(h)
        for bottom in range(top + 1, h + 1)
        for left in range(w)
        for right in range(left + 1, w + 1)
    ]
    area, held = min(box for box in boxes if -box[1] >= share * values.sum() - 1e-9)
    return area, -held


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_smallest_box(share):
    values = np.random.default_rng(1).exponential(size=(7, 6)) ** 2
    top, left, bottom, right = metrics.smallest_box(values, share=share, cell=1)
    area, held = brute_force_box(values, share)
    assert (bottom - top) * (right - left) == area
    assert values[top:bottom, left:right].sum() == pytest.approx(held)


def test_of_equally_small_boxes_the_fullest():
    assert metrics.smallest_box(np.array([[5.0, 4.0], [6.0, 0.0]]), share=0.5, cell=1) == (0, 0, 2, 1)
    assert metrics.smallest_box(np.array([[5.0, 6.0], [4.0, 0.0]]), share=0.5, cell=1) == (0, 0, 1, 2)


def test_smallest_box_on_a_grid():
    values = np.zeros((20, 20))
    values[9, 17] = 1
    assert metrics.smallest_box(values, share=0.5, cell=8) == (8, 16, 16, 20)  # the last cell is cut at the edge
    assert metrics.smallest_box(np.zeros((20, 20)), share=0.5, cell=8) == (0, 0, 20, 20)


def test_boxes():
    assert metrics.iou((0, 0, 4, 4), (2, 2, 6, 6)) == pytest.approx(4 / 28)
    assert metrics.iou((0, 0, 4, 4), (4, 0, 8, 4)) == 0
    assert metrics.iou((1, 2, 3, 4), (1, 2, 3, 4)) == 1
    assert metrics.central_box((0, 0, 4, 2), (10, 10)) == (3, 4, 7, 6)
    order = metrics.centre_map((5, 5))
    assert order.argmax() == 12
    assert order[0, 0] == order.min() == pytest.approx(-(8**0.5))


def test_perturbation_size():
    after = PICTURE.copy()
    after[0, 0, 0] = after[0, 0, 0] - 3 if after[0, 0, 0] > 3 else after[0, 0, 0] + 3
    size = metrics.perturbation_size(PICTURE, after)
    assert size["l2_norm"] == pytest.approx(3 / 255)
    assert size["largest_change_in_levels"] == 3
    assert size["rms_change_in_levels"] == pytest.approx(3 / PICTURE.size**0.5)
    assert size["psnr_db"] == pytest.approx(20 * np.log10(255 / size["rms_change_in_levels"]))
    assert metrics.perturbation_size(PICTURE, PICTURE)["psnr_db"] is None


def test_transformations():
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG", quality=75)
    np.testing.assert_array_equal(metrics.jpeg(PICTURE, 75), np.asarray(Image.open(file)))
    moved = metrics.shifted(PICTURE, 1, 2)
    np.testing.assert_array_equal(moved[1:, 2:], PICTURE[:-1, :-2])
    np.testing.assert_array_equal(moved[0, 2:], PICTURE[0, :-2])
    np.testing.assert_array_equal(moved[1:, 0], PICTURE[:-1, 0])
    point = np.zeros((9, 9, 3), np.uint8)
    point[4, 4] = 255
    weights = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    expected = np.outer(weights, weights) / weights.sum() ** 2
    np.testing.assert_array_equal(metrics.blurred(point, 1.0)[..., 0], (255 * expected).round())
    shaken = metrics.one_level_noise(np.full((50, 50, 3), 7, np.uint8), RANDOM)
    assert np.unique(shaken).tolist() == [6, 7, 8]
    assert metrics.one_level_noise(np.zeros((50, 50, 3), np.uint8), RANDOM).max() == 1  # no wrapping around


def test_maps_are_drawn_as_in_the_figures_of_the_command_line():
    values = np.random.default_rng(2).exponential(size=(1, 20, 20)).astype(np.float32)
    picture = figures.saliency_picture(values[0])
    shares, white = values[0] / np.percentile(values, 99.5), (picture == 255).all(-1)
    assert white[shares >= 1].all()
    assert not white[shares < 0.99].any()
    shown = figures.saliency_figure(np.zeros((1, 20, 20, 3), np.float32), values, [""]).axes[1].get_images()[0]
    expected = shown.to_rgba(values[0], bytes=True)[..., :3]
    assert np.abs(picture.astype(int) - expected).max() <= 1  # one of them truncates


def test_the_outline_is_inside_the_box():
    drawn = outlined(np.full((40, 30, 3), 9, np.uint8), (8, 0, 24, 16))
    changed = (drawn != 9).any(-1)
    assert changed[8:24, 0:16].sum() == changed.sum() == 16 * 16 - 8 * 8  # four lines
    assert drawn[9, 5].tolist() == drawn[22, 5].tolist() == [255, 221, 51]
    assert drawn[8, 5].tolist() == drawn[23, 5].tolist() == [0, 0, 0]


def test_along_gradient(linear, linear_images):
    distances = np.array([0.0, 1.0, 3.0], np.float32)
    scores, slopes = along_gradient(linear.model, linear_images, np.arange(6), distances=distances)
    for label, image in enumerate(linear_images):
        slope = np.linalg.norm(linear.weights[..., label])
        assert slopes[label] == pytest.approx(slope, rel=1e-5)
        expected = linear.scores(image)[label] + slope * distances
        np.testing.assert_allclose(scores[label], expected, rtol=1e-4, atol=1e-4)


def test_run_is_one_program_for_any_number():
    calls = []

    def method(model, images, labels, *, scale, offset):
        calls.append(len(images))
        return {"sum": model * images + labels + scale + offset}

    photo = Photo("cat", "cat.png", np.zeros((4, 4, 3), np.uint8), None)
    study = Study([], [photo], [], [], [], 0, jax.devices()[:1])
    images, labels, scale = (np.arange(7, dtype=np.float32) * factor for factor in (1, 10, 100))
    result = study.run(method, 2.0, images, labels, at_once=3, each={"scale": scale}, offset=1000.0)
    np.testing.assert_allclose(result["sum"], 2 * images + labels + scale + 1000)
    assert calls == [3, 3, 3]
    study._replace(devices=jax.devices()[:2]).run(method, 2.0, images, labels, each={"scale": scale}, offset=1000.0)
    assert calls[3:] == [2] * 4


def test_randomized(squeezenet):
    model = randomized(squeezenet, "fires/7", seed=[0, 1])
    before, after = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (squeezenet, model))
    )
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert changed == {name for name in before if name.startswith("fires/7/")}
    for name in changed:
        if name.endswith("bias/value"):
            assert not after[name].any()
        else:
            assert after[name].std() == pytest.approx(before[name].std(), rel=0.05)
            assert abs(after[name].mean()) < 0.1 * after[name].std()
    again = randomized(squeezenet, "fires/7", seed=[0, 1])
    jax.tree.map(np.testing.assert_array_equal, model, again)


@pytest.mark.parametrize("name", ["squeezenet1_0", "squeezenet1_1", "vgg16"])
def test_the_layers_are_all_that_hold_weights(name):
    from flax import nnx

    from jaxviz.models import VGG16, SqueezeNet

    build = {"vgg16": lambda: VGG16(rngs=nnx.Rngs(0))}.get(name, lambda: SqueezeNet(name[-3:], rngs=nnx.Rngs(0)))
    model = nnx.eval_shape(build)
    layers = list(network._LAYERS[name].values())
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in jax.tree_util.tree_leaves_with_path(model)]
    owners = [[layer for layer in layers if leaf.startswith(f"{layer}/")] for leaf in names]
    assert all(len(found) == 1 for found in owners)
    assert {found[0] for found in owners} == set(layers)


def test_chosen_targets_are_alive():
    scores = np.array([0.0, 5.0, 0.1, 0.0, 2.0, 3.0, 0.0])
    targets = choose_targets(scores, 0)
    assert targets[0] == 2  # the least of those above 0
    assert set(targets) == {2, 4, 5}
    assert choose_targets(scores, 0) == targets
    assert choose_targets(np.array([0.0, 5.0, 0.0]), 0) == [0, 2]  # nothing but dead targets is left


def test_load_says_what_is_wrong():
    with pytest.raises(ValueError, match="the networks must differ"):
        network.load(["squeezenet1_1", "squeezenet1_1"])
    with pytest.raises(ValueError, match="`names` is empty"):
        network.load([])
    with pytest.raises(ValueError, match=r"`name` must be one of .*'resnet'"):
        network.load(["resnet"])
