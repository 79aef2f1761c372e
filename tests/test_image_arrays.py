"""The rest of `jaxviz.images`: 8-bit values kept exactly, files written whole or not at all, blur as scipy's."""

import errno
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

from jaxviz import images

PIXELS = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
LEVELS = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], (256, 2, 3))


@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["plain", "jit"])
def test_uint8_and_back_is_exact(wrap):
    np.testing.assert_array_equal(wrap(images.to_uint8)(wrap(images.from_uint8)(LEVELS)), LEVELS)
    np.testing.assert_array_equal(wrap(images.from_uint8)(LEVELS), images.from_uint8(LEVELS))
    exact = (LEVELS / 255 - images.IMAGENET_MEAN) / images.IMAGENET_STD
    np.testing.assert_allclose(wrap(images.from_uint8)(LEVELS), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("wrap", [lambda function: function, jax.jit], ids=["plain", "jit"])
def test_to_uint8_has_every_level_of_any_type(dtype, wrap):
    with jax.enable_x64(dtype == "float64"):
        image = images.from_uint8(PIXELS[:224, :224]).astype(dtype)
        assert image.dtype == dtype
        np.testing.assert_array_equal(wrap(images.to_uint8)(image), PIXELS[:224, :224])


def test_to_uint8_clips_and_rounds():
    lower, upper = images.IMAGENET_BOUNDS
    batch = jnp.stack([lower - 9, lower, upper, upper + 9])[:, None, None]
    np.testing.assert_array_equal(images.to_uint8(batch)[:, 0, 0, 0], [0, 0, 255, 255])
    step = (upper - lower) / 255
    np.testing.assert_array_equal(images.to_uint8((lower + 7.4 * step)[None, None])[0, 0], [7, 7, 7])
    np.testing.assert_array_equal(images.to_uint8((lower + 7.6 * step)[None, None])[0, 0], [8, 8, 8])


@pytest.mark.parametrize(
    ("convert", "wrong"),
    [
        (images.from_uint8, np.zeros((4, 4, 3), np.float32)),
        (images.from_uint8, np.zeros((4, 4, 3), np.int32)),
        (images.from_uint8, np.zeros((4, 4, 1), np.uint8)),
        (images.from_uint8, np.zeros((4, 3), np.uint8)),
        (images.to_uint8, np.zeros((4, 4, 3), np.uint8)),
        (images.to_uint8, np.zeros((3, 4, 4), np.float32)),
        (images.to_uint8, np.zeros((4, 3), np.float32)),
    ],
)
def test_conversions_refuse(convert, wrong):
    with pytest.raises(ValueError, match=r"`images` must be .*, got"):
        convert(wrong)


@pytest.mark.parametrize("as_uint8", [False, True])
def test_save_and_load_is_exact(tmp_path, as_uint8):
    image = images.from_uint8(PIXELS)
    images.save(str(tmp_path / "image.PNG"), PIXELS if as_uint8 else image)
    np.testing.assert_array_equal(images.load(tmp_path / "image.PNG", size=256, resize=256)[0], image)


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    images.save(path, PIXELS)
    before = path.read_bytes()

    def full_disk(self, file, *args, **kwargs):
        Path(file).write_bytes(before[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        images.save(path, PIXELS[::-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask to speak of")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_save_obeys_the_umask(tmp_path, umask):
    old = os.umask(umask)
    try:
        images.save(tmp_path / "image.png", PIXELS)
        assert os.umask(umask) == umask
    finally:
        os.umask(old)
    assert (tmp_path / "image.png").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("image.png", np.full((4, 4, 3), np.nan, np.float32), "not finite"),
        ("image.png", np.full((4, 4, 3), np.inf, np.float32), "not finite"),
        ("image.png", np.zeros((1, 4, 4, 3), np.float32), r"`image` must have shape \(h, w, 3\)"),
        ("image.png", np.zeros((4, 4), np.uint8), r"`image` must have shape \(h, w, 3\)"),
        ("image.png", np.zeros((4, 4, 4), np.uint8), r"`image` must have shape \(h, w, 3\)"),
        ("image.png", np.zeros((0, 4, 3), np.uint8), r"`image` must have shape \(h, w, 3\)"),
        ("image.png", np.zeros((4, 4, 3), np.int32), "`image` must be uint8 or floating point, got int32"),
        ("image", np.zeros((4, 4, 3), np.uint8), "`path` must end in a suffix that Pillow writes"),
        ("image.nonsense", np.zeros((4, 4, 3), np.uint8), "`path` must end in a suffix that Pillow writes"),
        ("image.psd", np.zeros((4, 4, 3), np.uint8), "`path` must end in a suffix that Pillow writes"),
    ],
)
def test_save_refuses(tmp_path, name, image, message):
    with pytest.raises(ValueError, match=message):
        images.save(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sigma", [0.0, 0.3, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 1), (6, 5, 3), (64, 48, 3)])
def test_blur_is_that_of_scipy(shape, sigma):
    image = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    blurred = np.asarray(image, np.float64)
    for axis in (0, 1):
        if sigma:
            blurred = scipy.ndimage.gaussian_filter1d(blurred, sigma, axis, mode="reflect", truncate=4)
    np.testing.assert_allclose(images.blur(image, sigma), blurred, rtol=0, atol=1e-6)
    traced = jax.jit(images.blur)(image, jnp.float32(sigma))
    np.testing.assert_allclose(traced, blurred, rtol=0, atol=1e-6)
    mapped = jax.vmap(images.blur, (None, 0))(image, jnp.array([sigma, 0.5], jnp.float32))
    np.testing.assert_allclose(mapped[0], blurred, rtol=0, atol=1e-6)
    if sigma == 0:
        np.testing.assert_array_equal(images.blur(image, sigma), image)


@pytest.mark.parametrize("sigma", [0.5, 5.0])
@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 2**-8), ("float16", 2**-11), ("float64", 1e-12)])
def test_blur_rounds_once_to_the_type_of_the_image(dtype, error, sigma):
    with jax.enable_x64(dtype == "float64"):
        image = jnp.asarray(np.random.default_rng(0).standard_normal((224, 224, 3)), dtype)
        exact = np.asarray(image, np.float64)
        for axis in (0, 1):
            exact = scipy.ndimage.gaussian_filter1d(exact, sigma, axis, mode="reflect", truncate=4)
        for blur in (images.blur, jax.jit(images.blur)):
            blurred = blur(image, sigma)
            assert blurred.dtype == dtype
            np.testing.assert_allclose(np.asarray(blurred, np.float64), exact, rtol=1.01 * error, atol=min(error, 1e-6))


@pytest.mark.parametrize("offset", [(0, 0), (1, 0), (0, 3), (-2, 5), (16, 16)])
def test_shift_is_roll_and_can_be_undone(offset):
    image = jnp.asarray(np.random.default_rng(0).standard_normal((7, 9, 3)), jnp.float32)
    for shift in (images.shift, jax.jit(images.shift)):
        shifted = shift(image, jnp.array(offset))
        np.testing.assert_array_equal(shifted, np.roll(image, offset, (0, 1)))
        np.testing.assert_array_equal(shift(shifted, -jnp.array(offset)), image)
