"""Each bad input has an error that names the argument and says what is wrong with it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks", "unchecked")

MODEL = jax.tree_util.Partial(lambda images: images.sum((1, 2)))  # three classes
IMAGES = np.ones((2, 4, 5, 3), np.float32)
KEY = jax.random.key(0)


def saliency(model=MODEL, images=IMAGES, labels=(0, 1)):
    return jaxviz.saliency_maps(model, images, labels)


def fool(images=IMAGES, targets=(0, 1), **options):
    return jaxviz.fooling_images(MODEL, images, targets, **options)


def visualize(targets=(0, 1), **options):
    return jaxviz.class_visualizations(
        MODEL, targets, **{"key": KEY, "image_shape": (4, 5, 3), "num_steps": 2} | options
    )


def attack(**options):
    return jaxviz.pgd(MODEL, IMAGES, (0, 1), **{"epsilon": 0.1} | options)


def smooth(**options):
    return jaxviz.smooth_grad(MODEL, IMAGES, (0, 1), **{"key": KEY, "num_samples": 2} | options)


def integrate(**options):
    return jaxviz.integrated_gradients(MODEL, IMAGES, (0, 1), **options)


def delete(maps=IMAGES[..., 0], **options):
    return jaxviz.deletion_curve(MODEL, IMAGES, (0, 1), maps, **{"num_steps": 2} | options)


CASES = [
    (lambda: saliency(model=3), ValueError, "`model` must be callable"),
    (lambda: saliency(model=jax.tree_util.Partial(lambda f, x: x, jax.nn.relu)), ValueError, "only arrays as leaves"),
    (lambda: saliency(model=lambda images: images), ValueError, r"must return raw scores of shape \(n, k\)"),
    (lambda: saliency(model=lambda images: (images, images)), ValueError, "must return raw scores .* got tuple"),
    (lambda: saliency(model=lambda images: images.sum((0, 1, 2))), ValueError, "must return raw scores"),
    (lambda: saliency(images=IMAGES[0]), ValueError, r"`images` must have shape .* `images\[None\]`"),
    (lambda: saliency(images=IMAGES[0, 0]), ValueError, "`images` must have shape"),
    (lambda: saliency(images=IMAGES[:0], labels=[]), ValueError, "`images` must have shape .* none of them 0"),
    (lambda: saliency(images=IMAGES.astype(np.uint8)), ValueError, "floating point.* got uint8; .*from_uint8"),
    (lambda: saliency(images=IMAGES.astype(int)), ValueError, "`images` must be floating point"),
    (lambda: saliency(labels=[0]), ValueError, "`labels` must be as many as the images, got 1 for 2"),
    (lambda: saliency(labels=0), ValueError, r"`labels` must have shape \(n,\)"),
    (lambda: saliency(labels=[]), ValueError, r"`labels` must have shape \(n,\)"),
    (lambda: saliency(labels=[[0, 1]]), ValueError, r"`labels` must have shape \(n,\)"),
    (lambda: saliency(labels=[0.0, 1.0]), ValueError, "`labels` must be integers, got float64"),
    (lambda: saliency(labels=np.array([True, False])), ValueError, "`labels` must be integers, got bool"),
    (lambda: saliency(labels=[0, 3]), IndexError, "`labels` must be in 0 to 2, got 3"),
    (lambda: saliency(labels=[-1, 0]), IndexError, "`labels` must be in 0 to 2, got -1"),
    (lambda: fool(targets=[0, 99]), IndexError, "`targets` must be in 0 to 2, got 99"),
    (lambda: fool(targets=["stingray", "snail"]), ValueError, "`targets` must be integers.*labels.find"),
    (lambda: fool(step_size=-1), ValueError, "`step_size` must be finite and in 0 to inf, got -1"),
    (lambda: fool(step_size=float("nan")), ValueError, "`step_size` must be finite"),
    (lambda: fool(step_size="0.5"), ValueError, "`step_size` must be one number, got '0.5'"),
    (lambda: fool(step_size=[0.5, 1.0]), ValueError, "`step_size` must be one number"),
    (lambda: fool(max_steps=-1), ValueError, "`max_steps` must be finite and in 0"),
    (lambda: fool(max_steps=1.5), ValueError, "`max_steps` must be one integer, got 1.5"),
    (lambda: fool(confidence=1.5), ValueError, "`confidence` must be finite and in 0 to 1"),
    (lambda: fool(levels=256), ValueError, "`levels` needs `bounds`"),
    (lambda: fool(levels=1, bounds=(0, 1)), ValueError, "`levels` must be finite and in 2"),
    (lambda: fool(bounds=(1, 0)), ValueError, "`bounds` must have lower < upper"),
    (lambda: fool(bounds=(0, [1, 2])), ValueError, "`bounds` must be .* 3 channels"),
    (lambda: fool(bounds=1), ValueError, "`bounds` must be"),
    (lambda: fool(bounds=(0, 1, 2)), ValueError, "`bounds` must be"),
    (lambda: fool(lanes=0), ValueError, "`lanes` must be an integer of 1 or more"),
    (lambda: fool(lanes=2.0), ValueError, "`lanes` must be an integer of 1 or more"),
    (lambda: visualize(targets=[0, 3]), IndexError, "`targets` must be in 0 to 2, got 3"),
    (lambda: visualize(targets=0), ValueError, r"`targets` must have shape \(n,\)"),
    (lambda: visualize(key=0), ValueError, r"`key` must be a typed key, `jax.random.key\(seed\)`"),
    (lambda: visualize(key=jax.random.PRNGKey(0)), ValueError, "`key` must be a typed key"),
    (lambda: visualize(key=jax.random.split(KEY, 3)), ValueError, "`key` must be one key or 2"),
    (lambda: visualize(init_images=IMAGES[0]), ValueError, r"`init_images` must have shape .* `init_images\[None\]`"),
    (lambda: visualize(init_images=IMAGES[:1]), ValueError, "`targets` must be as many as the images, got 2 for 1"),
    (lambda: visualize(image_shape=(4, 5)), ValueError, "`image_shape` must be"),
    (lambda: visualize(image_shape=(4, 0, 3)), ValueError, "`image_shape` must be"),
    (lambda: visualize(num_steps=0), ValueError, "`num_steps` must be an integer of 1 or more, got 0"),
    (lambda: visualize(num_steps=2.0), ValueError, "`num_steps` must be an integer"),
    (lambda: visualize(num_steps=jnp.array(2)), ValueError, "`num_steps` must be an integer"),
    (lambda: visualize(l2_weight=-1), ValueError, "`l2_weight` must be finite and in 0"),
    (lambda: visualize(max_jitter=-1), ValueError, "`max_jitter` must be finite and in 0"),
    (lambda: visualize(blur_every=0), ValueError, "`blur_every` must be finite and in 1"),
    (lambda: visualize(blur_sigma=2.5), ValueError, "`blur_sigma` must be finite and in 0 to 2"),
    (lambda: visualize(snapshot_every=3), ValueError, "`snapshot_every` must be an integer in 1 to 2, got 3"),
    (lambda: visualize(bounds=(0, 0)), ValueError, "`bounds` must have lower < upper"),
    (lambda: visualize(step_size=[1.0, 2.0, 3.0]), ValueError, "`step_size` must be one number or 2, one for each ex"),
    (lambda: visualize(l2_weight=[1.0, -2.0]), ValueError, "`l2_weight` must be finite and in 0"),
    (lambda: visualize(max_jitter=[1.0, 2.0]), ValueError, "`max_jitter` must be one integer or 2"),
    (lambda: jaxviz.fgsm(MODEL, IMAGES, [0, 3], epsilon=0.1), IndexError, "`labels` must be in 0 to 2, got 3"),
    (lambda: jaxviz.fgsm(MODEL, IMAGES, [0, 1], epsilon=-0.1), ValueError, "`epsilon` must be finite and in 0 to inf"),
    (lambda: attack(epsilon=[0.1] * 3), ValueError, "`epsilon` must be one number or 2, one for each example"),
    (lambda: attack(epsilon=[[0.1], [0.1]]), ValueError, "`epsilon` must be one number or 2"),
    (lambda: attack(step_size=[0.1, float("nan")]), ValueError, "`step_size` must be finite"),
    (lambda: attack(norm="L2"), ValueError, '`norm` must be "linf" or "l2", got \'L2\''),
    (lambda: attack(norm=2), ValueError, "`norm` must be"),
    (lambda: attack(num_steps=0), ValueError, "`num_steps` must be an integer of 1 or more, got 0"),
    (lambda: attack(targeted=1), ValueError, "`targeted` must be True or False, got 1"),
    (lambda: attack(key=0), ValueError, "`key` must be a typed key"),
    (lambda: attack(key=jax.random.split(KEY, 3)), ValueError, "`key` must be one key or 2"),
    (lambda: attack(bounds=(1, 0)), ValueError, "`bounds` must have lower < upper"),
    (lambda: smooth(key=jax.random.PRNGKey(0)), ValueError, "`key` must be a typed key"),
    (lambda: smooth(num_samples=0), ValueError, "`num_samples` must be an integer of 1 or more, got 0"),
    (lambda: smooth(num_samples=2.0), ValueError, "`num_samples` must be an integer"),
    (lambda: smooth(noise_scale=-1), ValueError, "`noise_scale` must be finite and in 0"),
    (lambda: integrate(num_steps=0), ValueError, "`num_steps` must be an integer of 1 or more, got 0"),
    (lambda: integrate(baseline="black"), ValueError, "`baseline` must be a number, 3 numbers .* got 'black'"),
    (lambda: integrate(baseline=[0.0, 1.0]), ValueError, "`baseline` must be a number"),
    (lambda: integrate(baseline=IMAGES[0]), ValueError, r"`baseline` must be .* images of shape \(2, 4, 5, 3\)"),
    (
        lambda: delete(maps=IMAGES),
        ValueError,
        r"`maps` must be numbers of shape \(2, 4, 5\), .* got float32 \(2, 4, 5, 3",
    ),
    (lambda: delete(maps=IMAGES[..., 0] > 0), ValueError, "`maps` must be numbers of shape .* got bool"),
    (lambda: delete(num_steps=0), ValueError, "`num_steps` must be an integer of 1 or more, got 0"),
    (lambda: delete(baseline=IMAGES[:1]), ValueError, "`baseline` must be a number"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_optimizer_built_once_does_not_compile_again(compilations):
    optimizer = optax.sgd(0.1)
    fool(optimizer=optimizer)
    assert compilations() == ["_fooling_images"]
    fool(optimizer=optimizer)
    assert compilations() == []
