"""What every form of a workload starts from: the same weights and the same seeded images."""

import io
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
import torch
import torchvision.models
from PIL import Image

import jaxviz
import weights_convert
from benchmarks.workloads import RISE, SEED, Workload
from weights_convert.tables import TORCHVISION, Row, convert

_MAX_JITTER = 16  # the default of jaxviz
_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png")
# Tarantula, goldfish, junco, tree frog, flamingo, Egyptian cat, monarch, daisy
_CLASSES = (76, 1, 13, 31, 130, 285, 323, 985)


def write_weights(name: str, folder: Path) -> None:
    """Writes `name`-torchvision.safetensors and `name`-jaxviz.safetensors, the same weights in the two layouts.

    Real weights of SqueezeNet 1.1, random ones of VGG16 and ResNet-50, whose only file is in torchvision's layout.
    """
    if name == "resnet50":
        safetensors.numpy.save_file(
            random_state(name, np.random.default_rng(0)), folder / f"{name}-torchvision.safetensors"
        )
        return
    if name == "vgg16":
        state = random_state(name, np.random.default_rng(0))
        weights = weights_convert.Weights(convert(state, TORCHVISION[name]), name, "random", "")
    else:
        weights = weights_convert.caffe()
        state = to_torchvision(weights.arrays, TORCHVISION[name])
    safetensors.numpy.save_file(state, folder / f"{name}-torchvision.safetensors")
    weights_convert.write(folder / f"{name}-jaxviz.safetensors", weights)


def to_torchvision(weights: Mapping[str, np.ndarray], table: Sequence[Row]) -> dict[str, np.ndarray]:
    """The inverse of `weights_convert.tables.convert`, for tables without an unfolded row."""
    return {row.source: np.ascontiguousarray(weights[row.target].transpose(np.argsort(row.axes))) for row in table}


def random_state(name: str, random: np.random.Generator) -> dict[str, np.ndarray]:
    """A state dict in torchvision's layout: He's scale, at which activations neither vanish nor explode; biases too.

    A batch normalization's scale and variance are around 1.
    """
    with torch.device("meta"):
        state = torchvision.models.get_model(name).state_dict()

    def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            return random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        if name.endswith(("bias", "running_mean")):
            return random.standard_normal(shape, np.float32) * np.float32(0.1)
        return random.uniform(0.5, 1.5, shape).astype(np.float32)

    counts = {name: np.zeros((), np.int64) for name in state if name.endswith("num_batches_tracked")}
    return {name: values(name, tuple(tensor.shape)) for name, tensor in state.items() if name not in counts} | counts


def inputs(workload: Workload, model: Callable[[jax.Array], jax.Array]) -> dict[str, np.ndarray]:
    """The arrays of a workload; saliency maps are of the class that its model predicts.

    Returns:
        images: (n, size, size, 3) float32, ImageNet-normalized photographs without ties, or noise to start from.
        labels: (n,) int64, the classes to explain or to visualize, or the targets of the fooling.
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
    # Noise of less than an 8-bit level. In a flat region the elements of a pooling window are equal up to rounding, and
    # the gradient goes to another one in each form. Forms are to be compared where there is one answer.
    images = images + np.float32(0.01) * random.standard_normal(images.shape, np.float32)
    if workload.method == "fooling":
        return {"images": images, "labels": np.random.default_rng(SEED).integers(0, 1000, workload.examples)}
    scores = jax.lax.map(lambda image: model(image[None])[0], jnp.asarray(images))
    found = {"images": images, "labels": np.asarray(scores).argmax(1)}
    return found | _masks(workload) if workload.method == "rise" else found


def _crops(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Squares of random place and extent from photographs that scikit-image carries, as (n, size, size, 3) uint8."""
    files = [resources.files("skimage.data") / name for name in _PHOTOGRAPHS]
    photographs = [Image.open(io.BytesIO(file.read_bytes())).convert("RGB") for file in files]
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
        offset = lambda t: jax.random.randint(jax.random.fold_in(key, t), (2,), 0, _MAX_JITTER + 1)  # noqa: E731
        return jax.vmap(offset)(jnp.arange(workload.steps))

    return np.asarray(jax.vmap(of_example)(jnp.arange(workload.examples)), np.int64)


def _masks(workload: Workload) -> dict[str, np.ndarray]:
    """The cells and offsets of the masks of `jaxviz.rise` under the key of `SEED`, for the other forms to repeat."""
    cell, keep = RISE
    side = -(-workload.size // cell)

    def of_mask(image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), image), mask)
        cells, offset = jax.random.split(key)
        return jax.random.bernoulli(cells, keep, (side, side)), jax.random.randint(offset, (2,), 0, cell)

    of_image = jax.vmap(of_mask, (None, 0))
    found = jax.vmap(of_image, (0, None))(jnp.arange(workload.examples), jnp.arange(workload.steps))
    return dict(zip(("cells", "offsets"), map(np.asarray, found), strict=True))


def flop_per_image(workload: Workload, model: Callable[[jax.Array], jax.Array]) -> float:
    """Operations of one score and its gradient in one image, as XLA counts them in the plain program."""
    image = jax.ShapeDtypeStruct((1, workload.size, workload.size, 3), jnp.float32)
    # before XLA's passes, which may turn convolutions into library calls that it does not count
    with jax.default_device(jax.devices("cpu")[0]):  # a GPU's programs have no count
        costs = jax.jit(jax.value_and_grad(lambda image: model(image)[0, 0])).lower(image).cost_analysis()
    assert costs
    return float(costs["flops"])
