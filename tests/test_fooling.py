import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import softmax

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

TARGETS = np.array([0, 1, 2, 3, 4, 5])


def walk(linear, image, target, *, step_size, max_steps=100, good=lambda scores: True):
    """The same walk in numpy; a linear model's gradient is its weights."""
    direction = linear.weights[..., target] / np.linalg.norm(linear.weights[..., target])
    for steps in range(max_steps + 1):
        x = image + steps * step_size * direction
        scores = linear.scores(x)
        if scores.argmax() == target and good(scores):
            return x, steps, True
    return x, max_steps, False


@pytest.mark.parametrize("step_size", [0.05, 0.5])
def test_linear_model(any_linear, linear_images, step_size):
    result = jaxviz.fooling_images(any_linear.model, linear_images, TARGETS, step_size=step_size)
    for i, (image, target) in enumerate(zip(linear_images, TARGETS, strict=True)):
        x, steps, fooled = walk(any_linear, image, target, step_size=step_size)
        assert (int(result.steps[i]), bool(result.fooled[i])) == (steps, fooled)
        np.testing.assert_allclose(result.images[i], x, atol=1e-5)
    assert not result.stalled.any()


def test_an_image_of_the_class_comes_back_unchanged(linear, linear_images):
    classes = [int(linear.scores(image).argmax()) for image in linear_images]
    result = jaxviz.fooling_images(linear.model, linear_images, classes, bounds=(-10, 10))
    np.testing.assert_array_equal(result.images, linear_images)
    assert result.fooled.all()
    assert not result.steps.any()


def test_max_steps_ends_the_walk_and_fooled_tells_the_truth_of_the_last_image(linear, linear_images):
    for max_steps in (0, 1, 2, 3, 4, 5):
        result = jaxviz.fooling_images(linear.model, linear_images, TARGETS, max_steps=max_steps)
        assert result.steps.max() <= max_steps
        classes = np.array([linear.scores(np.asarray(image)).argmax() for image in result.images])
        np.testing.assert_array_equal(result.fooled, classes == TARGETS)
        np.testing.assert_array_equal(result.steps[~np.asarray(result.fooled)], max_steps)


def test_confidence(linear, linear_images):
    result = jaxviz.fooling_images(linear.model, linear_images, TARGETS, step_size=0.02, max_steps=1000, confidence=0.9)
    for i, (image, target) in enumerate(zip(linear_images, TARGETS, strict=True)):

        def good(scores, target=target):
            return softmax(scores)[target] >= 0.9

        _, steps, _ = walk(linear, image, target, step_size=0.02, max_steps=1000, good=good)
        assert abs(int(result.steps[i]) - steps) <= 1  # float32 rounding where the probability just reaches 0.9
        assert result.fooled[i]


def test_bounds_clip_every_step(linear, linear_images):
    lower, upper = np.array([-1.0, -0.5, -2.0], np.float32), np.array([1.0, 1.5, 2.0], np.float32)
    result = jaxviz.fooling_images(
        linear.model, linear_images, TARGETS, step_size=2.0, max_steps=5, bounds=(lower, upper)
    )
    assert (np.asarray(result.images) >= lower).all()
    assert (np.asarray(result.images) <= upper).all()
    for i, target in enumerate(TARGETS):
        direction = linear.weights[..., target] / np.linalg.norm(linear.weights[..., target])
        x = np.clip(linear_images[i], lower, upper)
        for _ in range(int(result.steps[i])):
            x = np.clip(x + 2.0 * direction, lower, upper)
        np.testing.assert_allclose(result.images[i], x, atol=1e-5)


def test_levels_returns_the_rounded_image_and_adds_up_unrounded(linear, linear_images):
    # A step far below half a level would be lost if the rounded image were carried on.
    images = np.clip(linear_images, -3, 3)
    result = jaxviz.fooling_images(
        linear.model, images, TARGETS, step_size=0.05, max_steps=400, bounds=(-3, 3), levels=7
    )
    np.testing.assert_allclose(result.images, np.round(result.images), atol=1e-6)
    assert result.fooled.all()
    for i, target in enumerate(TARGETS):
        direction = linear.weights[..., target] / np.linalg.norm(linear.weights[..., target])
        x = images[i]
        for _ in range(int(result.steps[i])):
            x = np.clip(x + np.float32(0.05) * direction, -3, 3)
        assert (np.abs(result.images[i] - x) <= 0.5 + 1e-3).all()


def test_dead_target_stalls_and_stays_put():
    model = lambda images: jnp.maximum(images.sum((1, 2)), 0)  # noqa: E731
    images = jnp.array([1.0, -1.0, -1.0])[None, None, None] * jnp.ones((2, 1, 1, 1))
    result = jaxviz.fooling_images(model, images, [1, 0])
    np.testing.assert_array_equal(result.images, images)
    assert result.stalled.tolist() == [True, False]
    assert result.fooled.tolist() == [False, True]
    assert result.steps.tolist() == [0, 0]


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_a_step_has_its_length_whatever_the_scale_of_the_gradient(scale):
    model = lambda images: scale * images.sum((1, 2))  # noqa: E731
    result = jaxviz.fooling_images(model, jnp.zeros((1, 2, 2, 3)).at[..., 0].set(1.0), [1], step_size=1.0, max_steps=1)
    assert not result.stalled[0]
    np.testing.assert_allclose(result.images[0, ..., 1], 0.5, rtol=1e-6)


def test_unknown_target_is_nan_inside_jit(linear, linear_images):
    targets = jnp.array([0, 7, -1, 1, 2, 3])
    fool = jax.jit(lambda images, targets: jaxviz.fooling_images(linear.model, images, targets))
    result = fool(linear_images, targets)
    assert np.isnan(result.images[1:3]).all()
    assert np.isfinite(np.asarray(result.images)[[0, 3, 4, 5]]).all()
    assert result.fooled.tolist() == [True, False, False, True, True, True]


def test_an_optimizer_replaces_the_step(linear, linear_images):
    optimizer = optax.sgd(0.01, momentum=0.5)
    result = jaxviz.fooling_images(linear.model, linear_images, TARGETS, optimizer=optimizer)
    for i, target in enumerate(TARGETS):
        x, velocity, steps = linear_images[i], 0, 0
        while linear.scores(x).argmax() != target:
            steps += 1
            velocity = linear.weights[..., target] + 0.5 * velocity
            x = x + 0.01 * velocity
        assert int(result.steps[i]) == steps
        np.testing.assert_allclose(result.images[i], x, atol=1e-5)


@pytest.mark.parametrize("optimizer", [None, optax.adam(0.05)])
@jax.numpy_dtype_promotion("standard")  # optax's adam does not keep to the strict one
def test_lanes_and_order_do_not_change_the_result(linear, linear_images, optimizer):
    options = {"step_size": 0.1, "bounds": (-3, 3), "levels": 256, "optimizer": optimizer}
    expected = jaxviz.fooling_images(linear.model, linear_images, TARGETS, lanes=6, **options)
    for lanes in (1, 2, 4, 100):
        for order in (np.arange(6), np.array([5, 3, 0, 1, 4, 2])):
            found = jaxviz.fooling_images(linear.model, linear_images[order], TARGETS[order], lanes=lanes, **options)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, np.asarray(b)[order], atol=1e-6)


def test_composes_with_vmap(linear, linear_images):
    expected = jaxviz.fooling_images(linear.model, linear_images, TARGETS)
    mapped = jax.vmap(lambda image, target: jaxviz.fooling_images(linear.model, image[None], target[None]))
    for a, b in zip(mapped(linear_images, jnp.asarray(TARGETS)), expected, strict=True):
        np.testing.assert_allclose(a[:, 0], b, atol=1e-6)


def test_the_platform_that_is_lowered_for_chooses_the_lanes(linear):
    """Not the one at hand: a TPU's program, compiled on a CPU, has a TPU's lanes."""
    images = jax.ShapeDtypeStruct((300, 5, 4, 3), jnp.float32)
    targets = jax.ShapeDtypeStruct((300,), jnp.int32)
    traced = jax.jit(lambda *batch: jaxviz.fooling_images(linear.model, *batch)).trace(images, targets)
    text = {name: traced.lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda", "tpu")}
    assert [f"tensor<{lanes}x5x4x3xf32>" in text[name] for name, lanes in (("tpu", 128), ("cuda", 64))] == [True, True]
    assert "tensor<128x5x4x3xf32>" not in text["cpu"] + text["cuda"]
