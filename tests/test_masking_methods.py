"""Occlusion, RISE and expected gradients: closed forms, keys, and independence of the batch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

KEY = jax.random.key(0)


@pytest.mark.parametrize(("window", "stride"), [(2, 2), (2, 1), (3, 2), (4, 3), (1, 1)])
def test_occlusion_of_a_linear_model(linear, linear_images, window, stride):
    """The score falls by the weights times the change of the pixels; the last window is cut off at the edge."""
    labels, baseline = np.arange(6), np.array([0.1, 0.2, 0.3], np.float32)
    maps = jaxviz.occlusion(linear.model, linear_images, labels, window=window, stride=stride, baseline=baseline)
    height, width = linear_images.shape[1:3]
    rows, columns = -(-(height - window) // stride) + 1, -(-(width - window) // stride) + 1
    assert maps.shape == (6, rows, columns)
    for image, label, found in zip(linear_images, labels, maps, strict=True):
        share = (image - baseline).astype(np.float64) * linear.weights[..., label]
        for i, j in itertools.product(range(rows), range(columns)):
            place = slice(i * stride, i * stride + window), slice(j * stride, j * stride + window)
            np.testing.assert_allclose(found[i, j], share[place].sum(), rtol=1e-3, atol=1e-4)


def test_every_pixel_is_in_a_window():
    model = lambda images: images.sum((1, 2))  # noqa: E731
    for place in itertools.product(range(7), range(5)):
        images = jnp.zeros((1, 7, 5, 3)).at[(0, *place, 1)].set(1.0)
        assert jaxviz.occlusion(model, images, [1], window=3, stride=2).max() == 1


def test_the_masks_of_rise():
    """Their mean is the probability of a cell, and each is a bilinear image in 0 to 1 of cells of the given side."""
    from jaxviz._methods.rise import _random_mask

    keys = jax.random.split(KEY, 2000)
    masks = np.asarray(jax.vmap(lambda key: _random_mask(key, (24, 32), 8, jnp.float32(0.3)))(keys))
    assert masks.shape == (2000, 24, 32)
    assert masks.min() >= 0
    assert masks.max() <= 1
    np.testing.assert_allclose(
        masks.mean(0), 0.3, atol=0.06
    )  # 4.5 standard deviations of 0.3 (1 - 0.3) / 2000 are 0.046
    second = np.diff(masks, 2, axis=1)
    assert (np.abs(second) < 1e-5).mean() > 0.7  # linear but for the lines where a cell ends


def test_rise_is_the_mean_of_the_weighted_masks():
    from jaxviz._methods.rise import _random_mask

    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32))
    model = lambda images: images.sum((1, 2))  # noqa: E731
    maps = jaxviz.rise(model, images, [2, 0], key=KEY, num_masks=50, cell=3, keep=0.4)
    for i, (image, label) in enumerate(zip(images, [2, 0], strict=True)):
        keys = [jax.random.fold_in(jax.random.fold_in(KEY, i), s) for s in range(50)]
        masks = jnp.stack([_random_mask(key, (8, 8), 3, jnp.float32(0.4)) for key in keys])
        weights = jax.nn.softmax(model(image[None] * masks[..., None]))[:, label]
        expected = (weights[:, None, None] * masks).mean(0) / 0.4
        np.testing.assert_allclose(maps[i], expected, rtol=1e-4)


def test_expected_gradients_of_a_linear_model(linear, linear_images):
    """The weights times the image minus the mean of the drawn baselines; completeness for one baseline."""
    baselines = np.random.default_rng(2).normal(size=(4, *linear_images.shape[1:])).astype(np.float32)
    found = jaxviz.expected_gradients(
        linear.model, linear_images, np.arange(6), baselines=baselines, key=KEY, num_samples=7
    )
    for i, image in enumerate(linear_images):
        keys = [jax.random.split(jax.random.fold_in(jax.random.fold_in(KEY, i), s))[0] for s in range(7)]
        drawn = [int(jax.random.randint(key, (), 0, 4)) for key in keys]
        np.testing.assert_allclose(found[i], linear.weights[..., i] * (image - baselines[drawn].mean(0)), atol=1e-5)
    one = jaxviz.expected_gradients(linear.model, linear_images, np.arange(6), baselines=baselines[:1], key=KEY)
    for i, image in enumerate(linear_images):
        change = linear.scores(image)[i] - linear.scores(baselines[0])[i]
        np.testing.assert_allclose(one[i].sum(), change, rtol=1e-3, atol=1e-3)


def occlusion(model, images, labels):
    return jaxviz.occlusion(model, images, labels, window=2, stride=1)


def rise(model, images, labels):
    return jaxviz.rise(model, images, labels, key=KEY, num_masks=3, cell=2)


def expected_gradients(model, images, labels):
    baselines = np.zeros((2, *images.shape[1:]), np.float32)
    return jaxviz.expected_gradients(model, images, labels, baselines=baselines, key=KEY, num_samples=3)


@pytest.mark.parametrize("method", [occlusion, rise, expected_gradients])
def test_a_result_does_not_depend_on_the_batch_and_an_unknown_class_is_nan(method, linear, linear_images):
    labels = np.arange(6)
    whole = method(linear.model, linear_images, labels)
    np.testing.assert_allclose(method(linear.model, linear_images[:2], labels[:2]), whole[:2], rtol=1e-5, atol=1e-6)
    split = jaxviz.data_parallel(method)(linear.model, linear_images[:5], labels[:5])
    np.testing.assert_allclose(split, whole[:5], rtol=1e-5, atol=1e-6)
    unknown = jax.jit(method)(linear.model, linear_images[:2], jnp.array([7, 1]))
    assert np.isnan(unknown[0]).all()
    np.testing.assert_allclose(unknown[1], whole[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("residual", [True, False])
def test_attention_rollout_is_the_product_of_the_blocks(residual):
    attentions = np.random.default_rng(0).random((4, 2, 3, 5, 5)).astype(np.float32)
    attentions /= attentions.sum(-1, keepdims=True)
    for image in range(2):
        expected = np.eye(5)
        for block in attentions[:, image].astype(np.float64):
            mean = block.mean(0)
            expected = ((mean + np.eye(5)) / 2 if residual else mean) @ expected
        for given in (attentions, list(attentions)):
            found = jaxviz.attention_rollout(given, residual=residual)
            np.testing.assert_allclose(found[image], expected, rtol=1e-5)
            np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
