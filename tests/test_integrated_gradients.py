import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

LABELS = np.arange(6)


def quartic(images):
    """Score c is the sum of x^4 in channel c: along a straight line, the gradient is of degree three."""
    return (images**4).sum((1, 2))


BASELINES = [0.0, np.float64(0.5), [0.1, -0.2, 0.3], np.random.default_rng(3).normal(size=(6, 5, 4, 3))]


@pytest.mark.parametrize("baseline", BASELINES, ids=["none", "number", "channels", "images"])
def test_linear_model(any_linear, linear_images, baseline):
    found = jaxviz.integrated_gradients(any_linear.model, linear_images, LABELS, baseline=baseline, num_steps=3)
    expected = (linear_images - np.asarray(baseline)) * np.moveaxis(any_linear.weights, -1, 0)[LABELS]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_rule_is_exact_for_polynomials(linear_images):
    """Two points of Gauss-Legendre integrate degree three; one is the midpoint, and does not."""
    labels, baseline = np.array([0, 1, 2, 0, 1, 2]), 0.5
    expected = np.where(np.arange(3) == labels[:, None, None, None], linear_images**4 - baseline**4, 0)
    two, one = (
        jaxviz.integrated_gradients(quartic, linear_images, labels, baseline=baseline, num_steps=num_steps)
        for num_steps in (2, 1)
    )
    np.testing.assert_allclose(two, expected, rtol=1e-4, atol=1e-5)
    middle = (linear_images - baseline) * 4 * ((linear_images + baseline) / 2) ** 3
    np.testing.assert_allclose(one, np.where(expected != 0, middle, 0), rtol=1e-4, atol=1e-5)


def test_unknown_class_is_nan_inside_jit(linear, linear_images):
    found = jax.jit(lambda labels: jaxviz.integrated_gradients(linear.model, linear_images, labels, num_steps=2))(
        jnp.array([0, 7, -1, 6, 1, 2])
    )
    np.testing.assert_array_equal(np.isnan(found).all((1, 2, 3)), [False, True, True, False, False, False])
    assert np.isfinite(np.asarray(found)[[0, 3, 4, 5]]).all()


def test_composes_with_jit_vmap_and_grad(linear_images):
    def total(image, label, baseline):
        return jaxviz.integrated_gradients(quartic, image[None], label[None], baseline=baseline, num_steps=2).sum()

    labels = jnp.array([0, 1, 2, 0, 1, 2])
    found = jax.jit(jax.vmap(total, (0, 0, None)))(linear_images, labels, 0.5)
    taken = np.take_along_axis(linear_images, np.asarray(labels)[:, None, None, None], -1)
    np.testing.assert_allclose(found, (taken**4 - 0.5**4).sum((1, 2, 3)), rtol=1e-4)
    gradient = jax.grad(total)(linear_images[1], labels[1], 0.5)
    np.testing.assert_allclose(gradient[..., 1], 4 * linear_images[1, ..., 1] ** 3, rtol=1e-3, atol=1e-4)
