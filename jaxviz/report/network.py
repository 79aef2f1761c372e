"""The networks of a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp

from jaxviz import weights
from jaxviz._core.model import Model
from jaxviz.models import LAST_MAPS

_TITLES = {"squeezenet1_0": "SqueezeNet 1.0", "squeezenet1_1": "SqueezeNet 1.1", "vgg16": "VGG16"}
_SQUEEZENET = {"conv10": "conv10", **{f"fire{i}": f"fires/{i - 2}" for i in range(9, 1, -1)}, "conv1": "conv1"}
_VGG = {
    **{name: name for name in ("fc8", "fc7", "fc6")},
    **{f"conv{b}_{c}": f"blocks/{b - 1}/{c - 1}" for b in (5, 4, 3, 2, 1) for c in range(3 if b > 2 else 2, 0, -1)},
}
_LAYERS = {"squeezenet1_0": _SQUEEZENET, "squeezenet1_1": _SQUEEZENET, "vgg16": _VGG}


class Network(NamedTuple):
    """A network of 1000 ImageNet classes, for ImageNet-normalized images, and where it comes from."""

    name: str  # as the report calls it
    model: Model  # images (n, h, w, 3) -> raw scores (n, 1000)
    source: str  # of the weights
    sha256: str  # of the file that they are from
    layers: Mapping[str, str]  # those with weights, the last one first: name -> beginning of their leaves' paths
    cam_layer: str  # the layer of Grad-CAM


def load(names: Sequence[str]) -> list[Network]:
    """The networks of "NAME" or "NAME=WEIGHTS", such as "vgg16" or "squeezenet1_1=file.pth".

    Raises:
        ValueError: no name, the same network twice, or an error of `load_model`.
    """
    if not names:
        raise ValueError("`names` is empty; give at least one network.")
    if len(set(names)) < len(names):
        raise ValueError(f"the networks must differ, got {', '.join(names)}.")
    parts = [name.partition("=") for name in names]
    architectures = [name for name, _, _ in parts]
    networks = []
    for name, _, source in parts:
        network_weights = weights.find(name, source or None)
        title = _TITLES[name]
        if architectures.count(name) > 1:  # told apart by their weights
            title += f" ({Path(source).stem if source else 'default'})"
        model = weights.filled(network_weights, jnp.float32)
        about = network_weights.source, network_weights.source_sha256
        networks.append(Network(title, model, *about, _LAYERS[name], LAST_MAPS[name]))
    return networks
