import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

LABELS = np.arange(6)


def plain_curve(scores_of, start, end, label, scores, num_steps):
    """Pixel by pixel, in numpy and float64."""
    order = np.argsort(-scores.astype(np.float64).ravel(), kind="stable")
    columns, x = scores.shape[1], start.copy()
    fractions, probabilities, done = [], [], 0
    for step in range(num_steps + 1):
        count = step * scores.size // num_steps
        for pixel in order[done:count]:
            x[pixel // columns, pixel % columns] = end[pixel // columns, pixel % columns]
        done = count
        fractions.append(count / scores.size)
        probabilities.append(softmax(np.asarray(scores_of(x), np.float64))[label])
    return fractions, probabilities, np.trapezoid(probabilities, fractions)


def assert_plain(curve, i, expected):
    for found, wanted, tolerance in zip(curve, expected, (1e-7, 1e-5, 1e-6), strict=True):
        np.testing.assert_allclose(found[i], wanted, rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def tied():
    """Importances of a few values, so that most pixels have their equal."""
    return np.random.default_rng(4).integers(-2, 3, (6, 5, 4))


@pytest.mark.parametrize("num_steps", [1, 7, 20])  # twenty pixels
def test_linear_model(any_linear, linear_images, tied, num_steps):
    baselines = np.random.default_rng(5).normal(size=linear_images.shape).astype(np.float32)
    arguments = (any_linear.model, linear_images, LABELS, tied.astype(np.float32))
    deletion = jaxviz.deletion_curve(*arguments, num_steps=num_steps, baseline=baselines)
    insertion = jaxviz.insertion_curve(*arguments, num_steps=num_steps, baseline=baselines)
    for i, (image, baseline) in enumerate(zip(linear_images, baselines, strict=True)):
        rest = (i, tied[i], num_steps)
        assert_plain(deletion, i, plain_curve(any_linear.scores, image, baseline, *rest))
        assert_plain(insertion, i, plain_curve(any_linear.scores, baseline, image, *rest))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.float32])
def test_maps_of_any_type(linear, linear_images, tied, dtype):
    maps = tied + 2  # not below zero, where a sign would be lost
    curve = jaxviz.deletion_curve(linear.model, linear_images, LABELS, maps.astype(dtype), num_steps=20, baseline=1.0)
    one = np.ones_like(linear_images[0])
    for i, image in enumerate(linear_images):
        assert_plain(curve, i, plain_curve(linear.scores, image, one, i, maps[i], 20))


@pytest.mark.parametrize("baseline", [0.25, [0.1, -0.2, 0.3]], ids=["number", "channels"])
def test_baselines(linear, linear_images, tied, baseline):
    curve = jaxviz.deletion_curve(linear.model, linear_images, LABELS, tied, num_steps=4, baseline=baseline)
    end = np.broadcast_to(np.float32(baseline), linear_images[0].shape)
    for i, image in enumerate(linear_images):
        assert_plain(curve, i, plain_curve(linear.scores, image, end, i, tied[i], 4))


def test_pixels_of_equal_value_go_in_row_major_order():
    model = lambda images: images.reshape(len(images), -1)  # noqa: E731
    images = 5 * jnp.ones((1, 2, 3, 1))
    for pixel in range(6):
        curve = jaxviz.deletion_curve(model, images, [pixel], jnp.zeros((1, 2, 3)), num_steps=6)
        falls = np.diff(curve.probabilities[0]) < 0
        np.testing.assert_array_equal(falls, np.arange(6) == pixel)


def test_a_map_with_a_nan_and_an_unknown_class_are_nan(linear, linear_images):
    maps = jnp.zeros((6, 5, 4)).at[3, 2, 1].set(jnp.nan)
    labels = jnp.array([0, 7, -1, 3, 6, 2])
    curve = jax.jit(lambda labels: jaxviz.insertion_curve(linear.model, linear_images, labels, maps, baseline=0))(
        labels
    )
    unknown = [False, True, True, True, False, False]
    np.testing.assert_array_equal(np.isnan(curve.auc), unknown)
    np.testing.assert_array_equal(np.isnan(curve.probabilities).all(1), unknown)
    assert np.isfinite(np.asarray(curve.probabilities)[[0, 4, 5]]).all()


def test_composes_with_jit_and_vmap(linear, linear_images, tied):
    expected = jaxviz.deletion_curve(linear.model, linear_images, LABELS, tied, num_steps=5)

    def one(image, label, scores):
        return jaxviz.deletion_curve(linear.model, image[None], label[None], scores[None], num_steps=5)

    found = jax.jit(jax.vmap(one))(linear_images, jnp.asarray(LABELS), jnp.asarray(tied))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a[:, 0], b, atol=1e-6)


def test_the_old_names_are_deprecated(linear, linear_images):
    with pytest.warns(DeprecationWarning, match=r"jaxviz\.PerturbationCurve"):
        assert jaxviz.Curve is jaxviz.PerturbationCurve
    curve = jaxviz.deletion_curve(linear.model, linear_images, LABELS, linear_images[..., 0], num_steps=2)
    with pytest.warns(DeprecationWarning, match="`auc`"):
        assert curve.areas is curve.auc
