"""The same weights for both frameworks, as files: real ones of SqueezeNet 1.1, random ones of VGG16."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy

import weights_convert
from weights_convert.tables import TORCHVISION, Row, convert

# Output and input channels and kernel of each layer of VGG16, in torchvision's order
_VGG_CHANNELS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_VGG_SHAPES = (
    *((outputs, inputs, 3, 3) for inputs, outputs in itertools.pairwise(_VGG_CHANNELS)),
    (4096, 512 * 7 * 7),
    (4096, 4096),
    (1000, 4096),
)


def write(name: str, folder: Path) -> None:
    """Writes `name`-torchvision.safetensors and `name`-jaxviz.safetensors, the same weights in the two layouts."""
    if name == "vgg16":
        state = random_vgg16(np.random.default_rng(0))
        weights = weights_convert.Weights(convert(state, TORCHVISION[name]), name, "random", "")
    else:
        weights = weights_convert.caffe()
        state = to_torchvision(weights.arrays, TORCHVISION[name])
    safetensors.numpy.save_file(state, folder / f"{name}-torchvision.safetensors")
    weights_convert.write(folder / f"{name}-jaxviz.safetensors", weights)


def to_torchvision(weights: Mapping[str, np.ndarray], table: Sequence[Row]) -> dict[str, np.ndarray]:
    """The inverse of `weights_convert.tables.convert`, for tables without an unfolded row."""
    return {row.source: np.ascontiguousarray(weights[row.target].transpose(np.argsort(row.axes))) for row in table}


def random_vgg16(random: np.random.Generator) -> dict[str, np.ndarray]:
    """A state dict in torchvision's layout: He's scale, at which activations neither vanish nor explode; biases too."""
    kernels = [row.source for row in TORCHVISION["vgg16"] if row.source.endswith(".weight")]
    state = {}
    for name, shape in zip(kernels, _VGG_SHAPES, strict=True):
        scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        state[name] = random.standard_normal(shape, np.float32) * scale
        state[name.replace("weight", "bias")] = random.standard_normal(shape[0], np.float32) * np.float32(0.1)
    return state
