"""What every form of a workload starts from: seeded, of real photographs where the method takes any."""

from collections.abc import Callable
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import jaxviz
from benchmarks.workloads import MAX_JITTER, SEED, Workload

_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png")
# Tarantula, goldfish, junco, tree frog, flamingo, Egyptian cat, monarch, daisy
_CLASSES = (76, 1, 13, 31, 130, 285, 323, 985)


def inputs(workload: Workload, model: Callable[[jax.Array], jax.Array]) -> dict[str, np.ndarray]:
    """The arrays of a workload.

    Args:
        workload: what is timed.
        model: its network; saliency maps are of the class that it takes an image for.

    Returns:
        images: (n, size, size, 3) float32, ImageNet-normalized photographs without ties, or noise to climb from.
        labels: (n,) int64, the classes to explain, to pretend or to climb.
        offsets: (n, steps, 2) int64, for class visualizations: jaxviz's own jitter.
    """
    random = np.random.default_rng(SEED)
    if workload.method == "visualization":
        return {
            "images": random.standard_normal((workload.examples, workload.size, workload.size, 3), np.float32),
            "labels": np.asarray(_CLASSES[: workload.examples]),
            "offsets": _offsets(workload),
        }
    images = np.asarray(jaxviz.images.from_uint8(_crops(random, workload.examples, workload.size)))
    images = _off_ties(random, images)
    if workload.method == "fooling":
        return {"images": images, "labels": np.random.default_rng(SEED).integers(0, 1000, workload.examples)}
    scores = jax.lax.map(lambda image: model(image[None])[0], jnp.asarray(images))
    return {"images": images, "labels": np.asarray(scores).argmax(1)}


def _off_ties(random: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """The images with noise of less than an 8-bit level.

    In a flat region the elements of a pooling window are equal but for rounding, and the gradient goes to another one
    in each form. Forms are to be compared where there is one answer.
    """
    return images + np.float32(0.01) * random.standard_normal(images.shape, np.float32)


def _crops(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Squares of random place and extent from photographs that scikit-image carries, as (n, size, size, 3) uint8."""
    folder = resources.files("skimage.data")
    photographs = []
    for name in _PHOTOGRAPHS:
        with (folder / name).open("rb") as file:
            photographs.append(Image.open(file).convert("RGB"))
    crops = np.empty((count, size, size, 3), np.uint8)
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        side = int(random.integers(200, min(photograph.size)))
        left, top = (int(random.integers(0, extent - side + 1)) for extent in photograph.size)
        square = photograph.crop((left, top, left + side, top + side))
        crops[i] = np.asarray(square.resize((size, size), Image.Resampling.BILINEAR))
    return crops


def _offsets(workload: Workload) -> np.ndarray:
    """The translations of `jaxviz.class_visualizations` under the key of `SEED`, for the other forms to repeat."""

    def of_example(index: jax.Array) -> jax.Array:
        _, key = jax.random.split(jax.random.fold_in(jax.random.key(SEED), index))
        offset = lambda t: jax.random.randint(jax.random.fold_in(key, t), (2,), 0, MAX_JITTER + 1)  # noqa: E731
        return jax.vmap(offset)(jnp.arange(workload.steps))

    return np.asarray(jax.vmap(of_example)(jnp.arange(workload.examples)), np.int64)


def flop_per_image(workload: Workload, model: Callable[[jax.Array], jax.Array]) -> float:
    """Operations of one score and its gradient in one image, as XLA counts them in the plain program."""

    def score(image: jax.Array) -> jax.Array:
        return model(image)[0, 0]

    image = jax.ShapeDtypeStruct((1, workload.size, workload.size, 3), jnp.float32)
    # before XLA's passes, which may turn convolutions into library calls that it does not count
    costs = jax.jit(jax.value_and_grad(score)).lower(image).cost_analysis()
    assert costs
    return float(costs["flops"])
