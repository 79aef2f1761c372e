"""Grad-CAM and its variants by their formulas, in NumPy, on convolutional and token activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

RANDOM = np.random.default_rng(0)
ACTIVATIONS = RANDOM.normal(size=(3, 4, 5, 6)).astype(np.float32)
WEIGHTS = RANDOM.normal(size=(6, 7)).astype(np.float32)
HEAD = Partial(lambda weights, x: jnp.sin(x).mean((1, 2)) @ weights, jnp.asarray(WEIGHTS))
LABELS = np.array([0, 3, 6])


def gradients(activations):
    """Of HEAD's scores, in closed form."""
    positions = np.prod(activations.shape[1:3])
    return np.cos(activations) / positions * WEIGHTS[:, LABELS].T[:, None, None]


def maps_by_formula(a, g, variant):
    if variant == "grad_cam":
        weights = g.mean((1, 2), keepdims=True)
    elif variant == "hires_cam":
        weights = g
    elif variant == "layer_cam":
        weights = np.maximum(g, 0)
    else:
        alpha = g**2 / (2 * g**2 + g**3 * a.sum((1, 2), keepdims=True))
        weights = (alpha * np.maximum(g, 0)).sum((1, 2), keepdims=True)
    return np.maximum((weights * a).sum(-1), 0)


@pytest.mark.parametrize("variant", ["grad_cam", "grad_cam++", "hires_cam", "layer_cam"])
def test_each_variant_is_its_formula(variant):
    maps = jaxviz.grad_cam(HEAD, ACTIVATIONS, LABELS, variant=variant)
    expected = maps_by_formula(ACTIVATIONS.astype(np.float64), gradients(ACTIVATIONS.astype(np.float64)), variant)
    assert maps.shape == (3, 4, 5)
    assert (maps >= 0).all()
    assert (expected > 0).any()
    np.testing.assert_allclose(maps, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("variant", ["grad_cam", "grad_cam++", "hires_cam", "layer_cam"])
def test_tokens_as_a_grid_without_the_class_token(variant):
    """The map of the grid in tokens equals that of the grid in an image, whatever the class token is."""
    tokens = np.concatenate([RANDOM.normal(size=(3, 1, 6)), ACTIVATIONS.reshape(3, -1, 6)], 1).astype(np.float32)

    def head(tokens):
        return HEAD(tokens[:, 1:].reshape(-1, 4, 5, 6)) + tokens[:, 0].sum(-1, keepdims=True)

    found = jaxviz.grad_cam(head, tokens, LABELS, variant=variant, grid=(4, 5))
    expected = jaxviz.grad_cam(HEAD, ACTIVATIONS, LABELS, variant=variant)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_dead_activations_have_a_map_of_zeros():
    maps = jaxviz.grad_cam(lambda x: jax.nn.relu(x).mean((1, 2)), -jnp.ones((1, 4, 4, 3)), [1], variant="grad_cam++")
    assert not maps.any()


def test_an_unknown_class_is_nan_under_jit():
    maps = jax.jit(lambda labels: jaxviz.grad_cam(HEAD, ACTIVATIONS, labels))(jnp.array([0, 7, -1]))
    assert np.isfinite(maps[0]).all()
    assert np.isnan(maps[1:]).all()


def test_one_image_does_not_depend_on_the_batch():
    maps = jaxviz.grad_cam(HEAD, ACTIVATIONS, LABELS)
    np.testing.assert_array_equal(jaxviz.grad_cam(HEAD, ACTIVATIONS[1:2], LABELS[1:2])[0], maps[1])
    np.testing.assert_allclose(jaxviz.data_parallel(jaxviz.grad_cam)(HEAD, ACTIVATIONS, LABELS), maps, rtol=1e-6)
