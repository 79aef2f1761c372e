import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import gaussian_filter1d

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

PLAIN = {"max_jitter": 0, "blur_sigma": 0}
KEY = jax.random.key(0)


def climb(linear, image, target, *, num_steps, step_size, l2_weight, sigma, every, bounds):
    """The same climb in numpy and scipy, without jitter."""
    x, scores = image.astype(np.float64), []
    for t in range(num_steps):
        scores.append(linear.scores(x)[target])
        norm = np.linalg.norm(x)
        x = x + step_size * (linear.weights[..., target] - (l2_weight * x / norm if norm else 0))
        x = np.clip(x, *bounds)
        if t % every == 0:
            x = gaussian_filter1d(gaussian_filter1d(x, sigma, axis=0), sigma, axis=1)
    return x, scores


def test_linear_model(any_linear, linear_images):
    options = {"num_steps": 25, "step_size": 0.03, "l2_weight": 0.5}
    lower, upper = np.full(3, -2, np.float32), np.array([2, 1.5, 2], np.float32)
    result = jaxviz.class_visualizations(
        any_linear.model, range(6), key=KEY, init_images=linear_images, max_jitter=0, blur_every=4, blur_sigma=0.7,
        bounds=(lower, upper), **options
    )  # fmt: skip
    for i, image in enumerate(linear_images):
        x, scores = climb(any_linear, image, i, sigma=0.7, every=4, bounds=(lower, upper), **options)
        np.testing.assert_allclose(result.images[i], x, atol=1e-5)
        np.testing.assert_allclose(result.scores[i], scores, rtol=1e-4, atol=1e-4)
    assert result.snapshots is None


def test_the_penalty_has_gradient_zero_at_zero(linear):
    zeros = jnp.zeros((1, 5, 4, 3))
    result = jaxviz.class_visualizations(
        linear.model, [2], key=KEY, init_images=zeros, num_steps=1, step_size=1.0, l2_weight=10.0, **PLAIN
    )
    np.testing.assert_allclose(result.images[0], linear.weights[..., 2], rtol=1e-6)


def test_jitter_is_undone_and_stays_within_its_range():
    # Only the top left pixel counts, so each step marks the pixel that the jitter brings there.
    model = lambda images: images[:, 0, 0]  # noqa: E731
    images = jnp.zeros((1, 12, 12, 3))
    result = jaxviz.class_visualizations(
        model, [1], key=KEY, init_images=images, num_steps=400, step_size=1.0, l2_weight=0, max_jitter=3, blur_sigma=0
    )
    rows, columns, channels = np.nonzero(np.asarray(result.images[0]))
    assert set(channels) == {1}
    assert set(rows) == set(columns) == {0, 9, 10, 11}  # -0, -3, -2, -1: both ends of the range occur
    assert result.images.sum() == 400


def test_jitter_moves_the_score_before_the_step():
    model = lambda images: images[:, 0, 0]  # noqa: E731
    images = jnp.arange(36.0).reshape(1, 6, 6, 1)
    result = jaxviz.class_visualizations(
        model, [0], key=KEY, init_images=images, num_steps=50, step_size=0, max_jitter=5, blur_sigma=0
    )
    assert len(np.unique(result.scores)) > 20
    np.testing.assert_array_equal(result.images, images)


def test_randomness_is_of_the_key_and_the_index(linear):
    options = {"image_shape": (5, 4, 3), "num_steps": 3, "max_jitter": 2}
    three = jaxviz.class_visualizations(linear.model, [1, 1, 2], key=KEY, **options)
    assert not np.allclose(three.images[0], three.images[1])
    two = jaxviz.class_visualizations(linear.model, [1, 5], key=KEY, **options)
    np.testing.assert_allclose(two.images[0], three.images[0], rtol=1e-6)
    other = jaxviz.class_visualizations(linear.model, [1, 5], key=jax.random.key(1), **options)
    assert not np.allclose(two.images[0], other.images[0])
    keys = jax.vmap(jax.random.fold_in, (None, 0))(KEY, jnp.array([2, 0]))  # a part of the batch, in another order
    part = jaxviz.class_visualizations(linear.model, [2, 1], key=keys, **options)
    np.testing.assert_allclose(part.images, np.asarray(three.images)[[2, 0]], rtol=1e-6)
    np.testing.assert_allclose(part.scores, np.asarray(three.scores)[[2, 0]], rtol=1e-6)


def test_noise_is_standard_normal(linear):
    model = jax.tree_util.Partial(lambda images: images.mean((1, 2)))
    result = jaxviz.class_visualizations(
        model, [0], key=KEY, image_shape=(64, 64, 3), num_steps=1, step_size=0, **PLAIN
    )
    assert abs(result.images.mean()) < 0.03
    assert abs(result.images.std() - 1) < 0.03


@pytest.mark.parametrize(("num_steps", "every"), [(9, 3), (10, 3), (2, 2), (5, 1)])
def test_snapshots(linear, linear_images, num_steps, every):
    options = {"key": KEY, "init_images": linear_images[:2], "step_size": 0.1, "max_jitter": 2, "blur_every": 2}
    result = jaxviz.class_visualizations(linear.model, [0, 3], num_steps=num_steps, snapshot_every=every, **options)
    assert result.snapshots.shape == (2, num_steps // every, 5, 4, 3)
    assert result.scores.shape == (2, num_steps)
    plain = jaxviz.class_visualizations(linear.model, [0, 3], num_steps=num_steps, **options)
    np.testing.assert_allclose(result.images, plain.images, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.scores, plain.scores, rtol=1e-5)
    for s in range(num_steps // every):
        part = jaxviz.class_visualizations(linear.model, [0, 3], num_steps=(s + 1) * every, **options)
        np.testing.assert_allclose(result.snapshots[:, s], part.images, rtol=1e-5, atol=1e-6)


def test_an_optimizer_replaces_the_step(linear, linear_images):
    result = jaxviz.class_visualizations(
        linear.model, [4], key=KEY, init_images=linear_images[:1], num_steps=8, l2_weight=0,
        optimizer=optax.sgd(0.05, momentum=0.5), **PLAIN
    )  # fmt: skip
    factor = sum(0.05 * (1 - 0.5 ** (t + 1)) / 0.5 for t in range(8))  # velocities of a constant gradient
    np.testing.assert_allclose(
        result.images[0], linear_images[0] + factor * linear.weights[..., 4], rtol=1e-4, atol=1e-5
    )


def test_unknown_target_is_nan_inside_jit(linear):
    visualize = jax.jit(
        lambda targets: jaxviz.class_visualizations(
            linear.model, targets, key=KEY, image_shape=(5, 4, 3), num_steps=2, bounds=(-1, 1)
        )
    )
    result = visualize(jnp.array([7, 2, -1]))
    assert np.isnan(result.images[::2]).all()
    assert np.isnan(result.scores[::2]).all()
    assert np.isfinite(result.images[1]).all()


def test_settings_can_be_mapped(linear, linear_images):
    """One compiled program for a grid of settings."""

    def final_score(step_size, l2_weight):
        result = jaxviz.class_visualizations(
            linear.model, [0], key=KEY, init_images=linear_images[:1], num_steps=3,
            step_size=step_size, l2_weight=l2_weight
        )  # fmt: skip
        return result.scores[0, -1]

    steps, weights = jnp.array([0.01, 0.1]), jnp.array([0.0, 0.5])
    grid = jax.jit(jax.vmap(jax.vmap(final_score, (None, 0)), (0, None)))(steps, weights)
    expected = [[final_score(float(step), float(weight)) for weight in weights] for step in steps]
    np.testing.assert_allclose(grid, expected, rtol=1e-5)


def test_each_target_has_its_own_settings(linear, linear_images):
    """A grid is one batch; each entry is what it would be alone, with the settings as numbers for all."""
    numbers = {
        "step_size": np.array([0.01, 0.1, 0.05]),
        "l2_weight": np.array([0.5, 0.0, 3.0]),
        "max_jitter": np.array([0, 2, 1]),
        "blur_every": np.array([2, 1, 3]),
        "blur_sigma": np.array([0.5, 1.0, 0.0]),
    }
    keys = jnp.stack([KEY, KEY, KEY])
    options = {"num_steps": 6, "snapshot_every": 2}
    images, targets = np.stack([linear_images[0]] * 3), np.array([4, 4, 4])
    grid = jaxviz.class_visualizations(linear.model, targets, key=keys, init_images=images, **numbers, **options)
    for i in range(3):
        alone = jaxviz.class_visualizations(
            linear.model, [4], key=keys[:1], init_images=images[:1], **options,
            **{name: values[i] for name, values in numbers.items()},
        )  # fmt: skip
        for found, expected in zip(grid, alone, strict=True):
            np.testing.assert_allclose(found[i], expected[0], rtol=1e-5, atol=1e-5)
    assert len(np.unique(grid.scores[:, -1])) == 3


def test_one_setting_for_each_and_others_for_all(linear, linear_images):
    options = {"key": KEY, "init_images": linear_images, "num_steps": 5, "max_jitter": 2, "l2_weight": 0.3}
    alike = jaxviz.class_visualizations(linear.model, range(6), step_size=0.05, **options)
    found = jaxviz.class_visualizations(linear.model, range(6), step_size=np.array([0.1, *[0.05] * 5]), **options)
    np.testing.assert_allclose(found.images[1:], alike.images[1:], rtol=1e-5, atol=1e-6)
    assert not np.allclose(found.images[0], alike.images[0])
