"""The methods on SqueezeNet and photographs, compiled as users have them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz
from jaxviz.images import IMAGENET_BOUNDS


def test_a_map_does_not_depend_on_its_neighbours(squeezenet, photographs):
    images = jaxviz.images.from_uint8(photographs.pixels[:4])
    labels = photographs.labels[:4]
    together = jaxviz.saliency_maps(squeezenet, images, labels)
    backwards = jaxviz.saliency_maps(squeezenet, images[::-1], labels[::-1])[::-1]
    np.testing.assert_array_equal(together, backwards)
    alone = jaxviz.saliency_maps(squeezenet, images[2:3], labels[2:3])[0]
    np.testing.assert_allclose(alone, together[2], rtol=0, atol=1e-5 * float(alone.max()))


def test_eight_bit_images_stay_fooled(squeezenet, photographs):
    images = jaxviz.images.from_uint8(photographs.pixels[:3])
    result = jaxviz.fooling_images(squeezenet, images, [6, 76, 113], bounds=IMAGENET_BOUNDS, levels=256)
    assert result.fooled.all()
    again = jaxviz.images.from_uint8(jaxviz.images.to_uint8(result.images))
    np.testing.assert_allclose(again, result.images, atol=1e-5)
    np.testing.assert_array_equal(squeezenet(again).argmax(1), [6, 76, 113])


@pytest.mark.slow
def test_fewer_photographs_are_known_the_larger_the_radius(squeezenet, photographs):
    """And ten steps do more than one of the same size, in the same ball."""
    images, labels = jaxviz.images.from_uint8(photographs.pixels[:6]), photographs.labels[:6]
    mean, std = (
        jnp.array(values)[None, None, None] for values in (jaxviz.images.IMAGENET_MEAN, jaxviz.images.IMAGENET_STD)
    )
    model = jax.tree_util.Partial(lambda model, pixels: model((pixels - mean) / std), squeezenet)
    pixels = jnp.asarray(photographs.pixels[:6] / np.float32(255))
    np.testing.assert_allclose(model(pixels), squeezenet(images), atol=1e-3)
    radii = np.repeat(np.array([0, 0.5, 4]) / 255, 6).astype(np.float32)
    known = {}
    for attack in (jaxviz.fgsm, jaxviz.pgd):
        found = attack(model, jnp.tile(pixels, (3, 1, 1, 1)), np.tile(labels, 3), epsilon=radii, bounds=(0, 1))
        assert float(jnp.abs(found - jnp.tile(pixels, (3, 1, 1, 1))).max()) <= 4 / 255 + 1e-6
        known[attack.__name__] = (model(found).argmax(1) == np.tile(labels, 3)).reshape(3, 6).sum(1).tolist()
    print("known of six photographs at 0, 0.5/255 and 4/255:", known)
    assert known["fgsm"][0] == known["pgd"][0] >= 4
    assert known["fgsm"][2] < known["fgsm"][0]
    assert known["pgd"][2] == 0


@pytest.mark.slow
def test_attributions_add_up_to_the_difference_of_the_scores(squeezenet, photographs):
    images, labels = jaxviz.images.from_uint8(photographs.pixels[:4]), photographs.labels[:4]
    baseline = IMAGENET_BOUNDS[0]
    black = jnp.broadcast_to(jnp.asarray(baseline), (1, 224, 224, 3))
    rows = np.arange(4)
    expected = squeezenet(images)[rows, labels] - squeezenet(black)[0, labels]

    def missing(num_steps):
        found = jaxviz.integrated_gradients(squeezenet, images, labels, baseline=baseline, num_steps=num_steps)
        return np.abs(found.sum((1, 2, 3)) / expected - 1)

    few, many = missing(5), missing(50)
    print("missing of the difference, 5 and 50 steps:", few, many)
    assert many.max() < 0.05
    assert many.mean() < few.mean() / 4


@pytest.mark.slow
def test_perturbation_curves(squeezenet, photographs):
    """Equal to forward passes on images made in NumPy, and the saliency map's order beats a random one."""
    images, labels = jaxviz.images.from_uint8(photographs.pixels[:8]), photographs.labels[:8]
    blurred = jax.vmap(lambda image: jaxviz.images.blur(image, 5.0))(images)
    maps = jaxviz.saliency_maps(squeezenet, images, labels)
    deletion = jaxviz.deletion_curve(squeezenet, images, labels, maps, num_steps=16)
    insertion = jaxviz.insertion_curve(squeezenet, images, labels, maps, num_steps=16, baseline=blurred)
    ranks = np.argsort(np.argsort(-np.asarray(maps[3]).ravel(), kind="stable"))
    counts = np.arange(17) * ranks.size // 16
    replaced = (ranks[None] < counts[:, None]).reshape(17, 224, 224, 1)
    for curve, start, end in ((deletion, images[3], jnp.zeros((1, 1, 1))), (insertion, blurred[3], images[3])):
        scores = squeezenet(jnp.where(replaced, end[None], start[None]))
        np.testing.assert_allclose(curve.probabilities[3], jax.nn.softmax(scores)[:, labels[3]], rtol=0, atol=1e-5)
    random = np.random.default_rng(0).random(maps.shape)
    by_chance = jaxviz.deletion_curve(squeezenet, images, labels, random, num_steps=16)
    print("mean deletion area", deletion.auc.mean(), "by chance", by_chance.auc.mean())
    assert deletion.auc.mean() < 0.7 * by_chance.auc.mean()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_samples(squeezenet):
    images, labels = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32), jax.ShapeDtypeStruct((2,), jnp.int32)

    def memory(num_samples):
        method = jax.jit(lambda *args: jaxviz.smooth_grad(*args, key=jax.random.key(0), num_samples=num_samples))
        return method.lower(squeezenet, images, labels).compile().memory_analysis().temp_size_in_bytes

    assert memory(64) < memory(2) + 10_000


def test_every_operation_is_as_fast_as_on_one_device(squeezenet):
    """The rewriting of the gradient program reaches into the part of each device."""
    images, labels = jax.ShapeDtypeStruct((3, 64, 64, 3), jnp.float32), jax.ShapeDtypeStruct((3,), jnp.int32)
    split = jaxviz.data_parallel(jaxviz.saliency_maps).lower(squeezenet, images, labels).as_text()
    whole = jax.jit(jaxviz.saliency_maps).lower(squeezenet, images, labels).as_text()
    for operation in ("convolution", "dot_general", "optimization_barrier", "select_and_scatter", "reduce_window"):
        assert split.count(f"stablehlo.{operation}") == whole.count(f"stablehlo.{operation}"), operation
