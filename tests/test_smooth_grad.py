import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

KEY = jax.random.key(5)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def quadratic(weights, images):
    """Score c is sum(weights x^2) / 2 in channel c, so its gradient is weights x: the noise's own mean shows."""
    return (weights[None] * images**2 / 2).sum((1, 2))


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(2).normal(size=(5, 4, 3)).astype(np.float32)


def noise(key, samples, shape=(5, 4, 3)):
    """As documented."""
    return np.stack([jax.random.normal(jax.random.fold_in(key, s), shape) for s in range(samples)])


def expected_map(weights, image, label, key, samples, scale):
    gradient = weights * (image + scale * noise(key, samples).mean(0))
    return np.abs(gradient[..., label])  # the other channels' gradient is zero


def test_linear_model(any_linear, linear_images):
    maps = jaxviz.smooth_grad(any_linear.model, linear_images, range(6), key=KEY, num_samples=3)
    expected = np.abs(any_linear.weights).max(2).transpose(2, 0, 1)[:6]
    np.testing.assert_allclose(maps, expected, rtol=1e-5)


def test_mean_of_the_gradient_under_the_documented_noise(weights, linear_images):
    model = jax.tree_util.Partial(quadratic, jnp.asarray(weights))
    scales = np.array([0.5, 0, 1, 0.1, 2, 0.3], np.float32)
    maps = jaxviz.smooth_grad(model, linear_images, LABELS, key=KEY, num_samples=7, noise_scale=scales)
    for i, (image, label, scale) in enumerate(zip(linear_images, LABELS, scales, strict=True)):
        expected = expected_map(weights, image, label, jax.random.fold_in(KEY, i), 7, scale)
        np.testing.assert_allclose(maps[i], expected, atol=1e-5)
    plain = jaxviz.saliency_maps(model, linear_images, LABELS)
    np.testing.assert_allclose(maps[1], plain[1], rtol=1e-6)  # without noise
    same = jaxviz.smooth_grad(model, linear_images, LABELS, key=KEY, num_samples=7, noise_scale=0.5)
    np.testing.assert_allclose(same[0], maps[0], rtol=1e-6)
    assert not np.allclose(same[1], maps[1])


def test_keys_of_the_examples_stand_for_parts_of_a_batch(weights, linear_images):
    model = jax.tree_util.Partial(quadratic, jnp.asarray(weights))
    maps = jaxviz.smooth_grad(model, linear_images, LABELS, key=KEY, num_samples=3)
    rows = np.array([4, 1])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.asarray(rows))
    part = jaxviz.smooth_grad(model, linear_images[rows], LABELS[rows], key=keys, num_samples=3)
    np.testing.assert_allclose(part, maps[rows], rtol=1e-6)
    other = jaxviz.smooth_grad(model, linear_images, LABELS, key=jax.random.key(6), num_samples=3)
    assert not np.allclose(other, maps)


def test_unknown_class_is_nan_inside_jit(linear, linear_images):
    maps = jax.jit(lambda labels: jaxviz.smooth_grad(linear.model, linear_images, labels, key=KEY, num_samples=2))(
        jnp.array([0, 7, -1, 6, 1, 2])
    )
    np.testing.assert_array_equal(np.isnan(maps).all((1, 2)), [False, True, True, False, False, False])
    assert np.isfinite(np.asarray(maps)[[0, 3, 4, 5]]).all()


def test_composes_with_jit_vmap_and_grad(weights, linear_images):
    def total(weights, image, label, key):
        model = jax.tree_util.Partial(quadratic, weights)
        return jaxviz.smooth_grad(model, image[None], label[None], key=key[None], num_samples=4)[0].sum()

    keys = jax.random.split(KEY, 6)
    arguments = (jnp.asarray(weights), linear_images, jnp.asarray(LABELS), keys)
    found = jax.jit(jax.vmap(total, (None, 0, 0, 0)))(*arguments)
    expected = [
        expected_map(weights, image, label, key, 4, 0.5).sum()
        for image, label, key in zip(linear_images, LABELS, keys, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # the map is |weights (x + noise)|, so its derivative in the weights is |x + noise| sign(weights)
    gradient = jax.grad(total)(jnp.asarray(weights), linear_images[1], jnp.array(1), keys[1])
    smooth = linear_images[1] + 0.5 * noise(keys[1], 4).mean(0)
    np.testing.assert_allclose(gradient[..., 1], (np.abs(smooth) * np.sign(weights))[..., 1], rtol=1e-4)
    assert not gradient[..., 0].any()
