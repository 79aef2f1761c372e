import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")


def test_linear_model(any_linear, linear_images):
    labels = np.arange(6)
    maps = jaxviz.saliency_maps(any_linear.model, linear_images, labels)
    expected = np.abs(any_linear.weights).max(2).transpose(2, 0, 1)[labels]
    np.testing.assert_allclose(maps, expected, rtol=1e-6)


def test_unknown_class_is_nan_inside_jit(linear, linear_images):
    labels = jnp.array([0, 7, -1, 2**31 - 1, 6, 1])
    maps = jax.jit(jaxviz.saliency_maps)(_as_pytree(linear.model), linear_images, labels)
    unknown = np.isnan(maps).all((1, 2))
    np.testing.assert_array_equal(unknown, [False, True, True, True, False, False])
    assert np.isfinite(np.asarray(maps)[~unknown]).all()


def _as_pytree(model):
    return jax.tree_util.Partial(model) if jax.tree_util.all_leaves([model]) else model


def test_composes_with_jit_vmap_and_grad(linear, linear_images):
    labels = jnp.arange(6)
    maps = jaxviz.saliency_maps(linear.model, linear_images, labels)
    mapped = jax.vmap(lambda image, label: jaxviz.saliency_maps(linear.model, image[None], label[None])[0])
    np.testing.assert_allclose(mapped(linear_images, labels), maps, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(mapped)(linear_images, labels), maps, rtol=1e-6)


def test_a_map_inside_a_loss_has_the_gradient_of_its_formula():
    # score = sum(w x^2) / 2, so the map is |w x| for one channel, and d(sum of the map)/dw is |x| sign(w)
    def loss(w, images):
        model = jax.tree_util.Partial(lambda w, images: (w[None] * images**2 / 2).sum((1, 2)), w)
        return jaxviz.saliency_maps(model, images, jnp.zeros(len(images), int)).sum()

    w, images = jnp.array([[[2.0], [-3.0]]]), jnp.array([[[[0.5], [4.0]]]])
    np.testing.assert_allclose(jax.grad(loss)(w, images), [[[0.5], [-4.0]]], rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(lambda w: loss(w, images), (w,), (w,))[1], 0.5 * 2 + 4 * 3, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_labels_of_any_integer_type(linear, linear_images, dtype):
    maps = jaxviz.saliency_maps(linear.model, linear_images, np.arange(6, dtype=dtype))
    np.testing.assert_array_equal(maps, jaxviz.saliency_maps(linear.model, linear_images, list(range(6))))
