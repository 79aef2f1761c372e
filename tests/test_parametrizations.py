"""Images as Fourier spectra, random transformations, and objectives inside of a network."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

import jaxviz
from jaxviz._methods.parametrizations import _Spectrum

pytestmark = pytest.mark.usefixtures("toy_networks")

KEY = jax.random.key(0)
GOLDEN = Path(__file__).parent / "golden" / "lucent_fourier.json"
ADAM = optax.adam(0.05)


def model(images):
    """Class 0 likes red on the left, class 1 blue on the right."""
    half = images.shape[2] // 2
    return jnp.stack([images[:, :, :half, 0].mean((1, 2)), images[:, :, half:, 2].mean((1, 2))], 1)


@pytest.mark.parametrize("case", range(2))
def test_the_picture_of_a_spectrum_is_lucents(case):
    """Golden values: `tests/programs/lucent_fourier.py` makes them with lucent 0.1.8."""
    golden = json.loads(GOLDEN.read_text())[case]
    spectrum = np.asarray(golden["spectrum"], np.float32)  # (c, h, f, 2), real and imaginary
    picture = np.asarray(golden["picture"], np.float32)  # (c, h, w), in 0 to 1
    parameters = _Spectrum(jnp.asarray(spectrum.transpose(3, 1, 2, 0)), picture.shape[2])
    found = jaxviz.fourier(decorrelate=golden["decorrelate"], bounds=(0, [1, 1, 1])).decode(parameters)
    np.testing.assert_allclose(found, picture.transpose(1, 2, 0), atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16, 3), (15, 17, 3), (8, 13, 3)])
@pytest.mark.parametrize("parametrization", [jaxviz.fourier(scale=1.0), jaxviz.maco()])
def test_the_picture_has_the_shape_and_the_bounds(parametrization, shape):
    image = parametrization.decode(parametrization.init(KEY, shape))
    image, (lower, upper) = np.asarray(image), jaxviz.images.IMAGENET_BOUNDS
    assert image.shape == shape
    assert (image >= lower - 1e-5).all()
    assert (image <= upper + 1e-5).all()
    assert image.std() > 0.1


def test_maco_keeps_the_magnitude_of_the_photographs():
    photographs = jnp.asarray(np.random.default_rng(0).random((3, 16, 16, 3)).astype(np.float32))
    parametrization = jaxviz.maco(photographs=photographs, decorrelate=False, bounds=(0, [1, 1, 1]))
    image = parametrization.decode(parametrization.init(KEY, (16, 16, 3)))
    logits = jnp.log(image / (1 - image))
    spectra = [np.abs(np.fft.rfft2(np.log(p / (1 - p)), axes=(0, 1))) for p in np.clip(photographs, 1 / 512, 511 / 512)]
    expected, found = np.mean(spectra, 0), np.abs(np.fft.rfft2(logits, axes=(0, 1)))
    inner = np.s_[1:8, 1:8]  # the rest has conjugates in the same half: only the real part of random phases remains
    ratio = found[inner] / expected[inner]
    np.testing.assert_allclose(ratio / ratio.mean(), 1, rtol=1e-3)


@jax.numpy_dtype_promotion("standard")  # optax's adam does not keep to the strict one
def test_gradient_ascent_in_fourier_space_raises_the_score_and_compiles_once(compilations):
    options = {"key": KEY, "image_shape": (16, 16, 3), "num_steps": 30, "optimizer": ADAM, "max_jitter": 0}
    result = jaxviz.class_visualizations(model, [0, 1], parametrization=jaxviz.fourier(), **options)
    assert compilations() == ["_class_visualizations"]
    assert result.images.shape == (2, 16, 16, 3)
    np.testing.assert_allclose(result.scores[:, -1], jnp.diag(model(result.images)), atol=0.2)
    assert (result.scores[:, -1] > result.scores[:, 0] + 0.5).all()
    jaxviz.class_visualizations(model, [0, 1], parametrization=jaxviz.fourier(decay=0.5), **options)
    assert compilations() == []
    alone = jaxviz.class_visualizations(model, [0], parametrization=jaxviz.fourier(), **options)
    np.testing.assert_allclose(alone.images[0], result.images[0], atol=1e-5)


def test_a_parametrization_of_ones_own():
    """One colour for the whole image, with snapshots and several devices."""
    own = jaxviz.Parametrization(
        init=lambda key, shape: {"colour": jax.random.normal(key, shape[-1:])},
        decode=lambda parameters: jnp.broadcast_to(jnp.tanh(parameters["colour"]), (6, 6, 3)),
    )
    options = {"key": KEY, "image_shape": (6, 6, 3), "num_steps": 20, "parametrization": own, "snapshot_every": 10}
    method = jaxviz.data_parallel(jaxviz.class_visualizations)
    result = method(model, [0, 1, 1], **options)
    assert result.snapshots.shape == (3, 2, 6, 6, 3)
    np.testing.assert_allclose(result.snapshots[:, -1], result.images, rtol=1e-5)
    assert np.ptp(np.asarray(result.images), axis=(1, 2)).max() < 1e-6
    assert result.images[0, 0, 0, 0] > 0.9


def test_the_transform_is_drawn_anew_in_each_step():
    """A crop of 4 x 4 at a random place: the model sees only crops, and every pixel of the image changes."""

    def crop(key, image):
        return jax.lax.dynamic_slice(image, (*jax.random.randint(key, (2,), 0, 5), 0), (4, 4, 3))

    def strict(images):
        assert images.shape[1:3] in ((4, 4), (8, 8))  # 8 x 8 only where the number of classes is read
        return images.mean((1, 2))

    start = jnp.zeros((1, 8, 8, 3))
    options = {"key": KEY, "init_images": start, "blur_sigma": 0, "l2_weight": 0, "transform": crop}
    one = jaxviz.class_visualizations(strict, [1], num_steps=1, **options).images
    assert (np.asarray(one[..., 1]) != 0).sum() == 16
    assert not one[..., 0].any()
    many = jaxviz.class_visualizations(strict, [1], num_steps=200, **options).images
    assert (many[..., 1] != 0).all()


def test_the_default_transform_is_the_jitter():
    """The same offsets, given as a transform."""
    start = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32))

    def jitter(key, image):
        return jnp.roll(image, jax.random.randint(key, (2,), 0, 4, jnp.int32), (0, 1))

    options = {"key": KEY, "init_images": start, "num_steps": 5}
    expected = jaxviz.class_visualizations(model, [0, 1], max_jitter=3, **options)
    found = jaxviz.class_visualizations(model, [0, 1], transform=jitter, **options)
    np.testing.assert_allclose(found.images, expected.images, rtol=1e-5, atol=1e-6)


def test_diversity_within_a_batch_by_composition():
    """Two pictures as one image of six channels; the score of both, minus their similarity."""

    def pair(images):
        scores = sum(model(part)[:, :1] for part in jnp.split(images, 2, -1))
        return scores - 5 * (images[..., :3] * images[..., 3:]).mean((1, 2, 3))[:, None]

    result = jaxviz.class_visualizations(
        Partial(pair), [0], key=KEY, image_shape=(8, 8, 6), num_steps=50, bounds=(-1, 1), max_jitter=0
    )
    first, second = np.split(np.asarray(result.images[0]), 2, -1)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.3
