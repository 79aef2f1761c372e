"""What holds for every method, tried where it would break: at real size, in other types, under the user's own modes."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz

KEY = jax.random.key(0)

# One step or sample of each method, on the network and at the size that people use
METHODS = {
    "saliency_maps": jaxviz.saliency_maps,
    "smooth_grad": lambda *args: jaxviz.smooth_grad(*args, key=KEY, num_samples=1),
    "integrated_gradients": lambda *args: jaxviz.integrated_gradients(*args, num_steps=1),
    "fooling_images": lambda *args: jaxviz.fooling_images(*args, max_steps=1).images,
    "pgd": lambda *args: jaxviz.pgd(*args, epsilon=0.1, num_steps=1),
    "pgd, l2": lambda *args: jaxviz.pgd(*args, epsilon=0.1, num_steps=1, norm="l2"),
    "class_visualizations": lambda model, images, labels: (
        jaxviz.class_visualizations(model, labels, key=KEY, init_images=images, num_steps=1, bounds=(-3, 3)).images
    ),
    "deletion_curve": lambda model, images, labels: (
        jaxviz.deletion_curve(model, images, labels, jnp.zeros(images.shape[:3]), num_steps=1).auc
    ),
    "grad_cam": lambda *args: grad_cam(*args),
    "grad_cam++": lambda *args: grad_cam(*args, variant="grad_cam++"),
    "guided": lambda model, *args: jaxviz.saliency_maps(jaxviz.relu_rule(model, "guided"), *args),
    "occlusion": lambda *args: jaxviz.occlusion(*args, window=224, stride=224),
    "rise": lambda *args: jaxviz.rise(*args, key=KEY, num_masks=1),
    "expected_gradients": lambda model, images, labels: jaxviz.expected_gradients(
        model, images, labels, baselines=0 * images[:1], key=KEY, num_samples=1
    ),
}


def grad_cam(model, images, labels, **options):
    features, head = jaxviz.split(model, images, "pool1")
    return jaxviz.grad_cam(head, features(images), labels, **options)


@pytest.fixture(scope="module")
def photograph(squeezenet):
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    return np.asarray(jaxviz.images.from_uint8(pixels))


# the others take a map's gradient program or a curve's forward passes, and have tests of their own with toy networks
SLOW = {"smooth_grad", "integrated_gradients", "pgd", "pgd, l2", "grad_cam++", "guided", "expected_gradients"}


@pytest.mark.parametrize("method", [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in METHODS])
def test_nan_of_an_unknown_class_and_of_an_image_with_a_nan(squeezenet, photograph, method):
    """XLA's CPU backend loses NaN in the maximum over the last axis of a large array, not of a small one."""
    images = np.stack([photograph, photograph, photograph])
    images[2, 100, 100, 1] = np.nan
    found = np.asarray(jax.jit(METHODS[method])(squeezenet, images, np.array([1000, 3, 3])))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    assert np.isnan(found[2]).all()


def total(images):
    """Two classes, whose scores are sums of all values and of half of them: the gradients are exactly 1 and 0.5."""
    return jnp.stack([images.sum((1, 2, 3)), images.sum((1, 2, 3)) / 2], 1)


def test_samples_of_bfloat16_images_add_up_in_float32():
    images = jnp.zeros((1, 2, 2, 3), jnp.bfloat16)
    maps = jaxviz.smooth_grad(total, images, [0], key=KEY, num_samples=1000)
    assert maps.dtype == jnp.bfloat16
    np.testing.assert_array_equal(maps.astype(jnp.float32), 1)
    shares = jaxviz.integrated_gradients(total, images, [0], baseline=-1.0, num_steps=200)
    np.testing.assert_array_equal(shares.astype(jnp.float32), 1)


def brightest(images):
    return images.sum((1, 2))


@pytest.mark.parametrize(("dtype", "steps"), [(jnp.float32, 9), (jnp.bfloat16, 11)])
def test_steps_on_bfloat16_images_add_up_in_float32(dtype, steps):
    """Each step is below half a unit in the last place of the images, so the 11th is the first above 260 that shows."""
    red = jnp.full((1, 1, 1, 3), 256.0, dtype).at[..., 0].set(260)
    fooled = jaxviz.fooling_images(brightest, red, [2], step_size=0.5)
    assert (int(fooled.steps[0]), fooled.images.dtype) == (steps, dtype)
    made = jaxviz.class_visualizations(
        brightest, [2], key=KEY, init_images=red, num_steps=16, step_size=0.5, l2_weight=0, blur_sigma=0
    )
    assert (float(made.images[0, 0, 0, 2]), made.images.dtype) == (264, dtype)
    attacked = jaxviz.pgd(brightest, red, [2], epsilon=8, step_size=0.5, num_steps=16, norm="l2", targeted=True)
    assert attacked.dtype == dtype
    assert abs(float(jnp.linalg.norm((attacked - red).astype(jnp.float32))) - 8) < 2  # the images' last place is 2


def test_noise_to_start_from_is_the_same_with_x64(squeezenet):
    """Of a float32 network, whose convolutions take float32 images alone."""

    def visualize():
        return jaxviz.class_visualizations(squeezenet, [1], key=KEY, image_shape=(64, 64, 3), num_steps=1)

    expected = visualize()
    with jax.enable_x64(True):
        found = visualize()
    assert found.images.dtype == jnp.float32
    np.testing.assert_allclose(found.images, expected.images, rtol=1e-5, atol=1e-4)


def test_settings_are_float64_with_x64():
    with jax.enable_x64(True):
        found = jaxviz.fgsm(brightest, np.zeros((1, 1, 1, 3)), [0], epsilon=0.1)
        assert found.dtype == np.float64
        assert abs(found[0, 0, 0, 1]) == 0.1


@pytest.mark.parametrize("label", [2**32 + 1, -(2**32) + 1])
def test_a_label_is_checked_before_it_is_narrowed(label):
    images = np.ones((1, 2, 2, 3), np.float32)
    with pytest.raises(IndexError, match=f"must be in 0 to 2, got {label}"):
        jaxviz.saliency_maps(brightest, images, np.array([label]))
    with jax.enable_x64(True):
        maps = jax.jit(lambda labels: jaxviz.saliency_maps(brightest, images, labels))(np.array([label]))
    assert np.isnan(maps).all()


class Normalized(nnx.Module):
    def __init__(self, *, rngs):
        self.norm, self.dropout = nnx.BatchNorm(3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, images):
        return self.dropout(self.norm(images)).mean((1, 2))


def test_a_network_in_training_form_is_an_error():
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    model = Normalized(rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"changes its own state at .*; call `model.eval\(\)` first"):
        jaxviz.saliency_maps(model, images, [0, 1])
    model.eval()
    assert jaxviz.saliency_maps(model, images, [0, 1]).shape == (2, 4, 4)
    model.dropout.deterministic = False  # the one kind of layer, in training form alone
    with pytest.raises(ValueError, match=r"changes its own state at .*dropout"):
        jaxviz.class_visualizations(model, [0], key=KEY, image_shape=(4, 4, 3), num_steps=1)


def test_reverse_mode_through_l2_attacks():
    """The image itself is at distance 0, where a square root has no derivative."""
    image = jnp.asarray(np.random.default_rng(0).normal(size=(4, 4, 3)), jnp.float32)

    def distance(moved):
        squares = lambda images: jnp.square(images).sum((1, 2))  # noqa: E731
        attacked = jaxviz.pgd(squares, moved[None], [1], epsilon=1.0, norm="l2", num_steps=2)[0]
        return jnp.square(attacked - image).sum()

    found = jax.grad(distance)(image)
    assert np.isfinite(found).all()
    assert found.any()


def test_reverse_mode_from_a_black_image():
    def brightness(images):
        return jaxviz.class_visualizations(brightest, [1], key=KEY, init_images=images, num_steps=2).images.sum()

    assert np.isfinite(jax.grad(brightness)(jnp.zeros((1, 4, 4, 3)))).all()


IMAGES = np.ones((1, 4, 4, 3), np.float32)
SIZES = {
    "num_steps": lambda n: jaxviz.class_visualizations(brightest, [0], key=KEY, init_images=IMAGES, num_steps=n),
    "snapshot_every": lambda n: jaxviz.class_visualizations(
        brightest, [0], key=KEY, init_images=IMAGES, num_steps=3, snapshot_every=n
    ),
    "image_shape": lambda n: jaxviz.class_visualizations(
        brightest, [0], key=KEY, image_shape=(n, 2, 3), num_steps=1, blur_sigma=0
    ),
    "num_samples": lambda n: jaxviz.smooth_grad(brightest, IMAGES, [0], key=KEY, num_samples=n),
    "lanes": lambda n: jaxviz.fooling_images(brightest, IMAGES, [0], lanes=n),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_integers_of_any_kind_but_no_booleans(name):
    expected, found = SIZES[name](2), SIZES[name](np.int64(2))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        SIZES[name](True)


def test_a_model_that_was_closed_over_is_let_go():
    network = Normalized(rngs=nnx.Rngs(0))
    network.eval()
    weights = weakref.ref(network.norm)
    jaxviz.saliency_maps(lambda images, network=network: network(images), np.zeros((1, 4, 4, 3), np.float32), [0])
    del network
    jax.clear_caches()
    gc.collect()
    assert weights() is None


@pytest.mark.parametrize("method", ["saliency_maps", "fooling_images", "class_visualizations"])
def test_a_model_is_traced_once(method):
    calls = []

    def model(images):
        calls.append(images.shape)
        return images.mean((1, 2))

    METHODS[method](model, jnp.ones((2, 224, 224, 3)), jnp.array([0, 1]))
    assert calls == [(1, 224, 224, 3)]
