"""ResNet-50 as a user writes it in Flax NNX, with weights in torchvision's names and layout."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxviz.weights import by_name


def _conv(inputs: int, outputs: int, size: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    return nnx.Conv(inputs, outputs, (size, size), stride, padding=size // 2, use_bias=False, rngs=rngs)


class Bottleneck(nnx.Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1, and a shortcut."""

    def __init__(self, inputs: int, channels: int, stride: int, rngs: nnx.Rngs):
        norm = lambda count: nnx.BatchNorm(count, epsilon=1e-5, rngs=rngs)  # noqa: E731
        self.conv1, self.bn1 = _conv(inputs, channels, 1, 1, rngs), norm(channels)
        self.conv2, self.bn2 = _conv(channels, channels, 3, stride, rngs), norm(channels)
        self.conv3, self.bn3 = _conv(channels, 4 * channels, 1, 1, rngs), norm(4 * channels)
        changes = stride > 1 or inputs != 4 * channels
        self.downsample = nnx.List(
            [_conv(inputs, 4 * channels, 1, stride, rngs), norm(4 * channels)] if changes else []
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """The block's output, (n, h / stride, w / stride, 4 * channels)."""
        shortcut = x
        for layer in self.downsample:
            shortcut = layer(shortcut)
        x = jax.nn.relu(self.bn1(self.conv1(x)))
        x = jax.nn.relu(self.bn2(self.conv2(x)))
        return jax.nn.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(nnx.Module):
    """He et al. 2016, arXiv:1512.03385, with the strides of torchvision."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv1, self.bn1 = _conv(3, 64, 7, 2, rngs), nnx.BatchNorm(64, epsilon=1e-5, rngs=rngs)
        self.layer1 = _stage(3, 64, 64, 1, rngs)
        self.layer2 = _stage(4, 256, 128, 2, rngs)
        self.layer3 = _stage(6, 512, 256, 2, rngs)
        self.layer4 = _stage(3, 1024, 512, 2, rngs)
        self.fc = nnx.Linear(2048, 1000, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        """(n, h, w, 3) images to (n, 1000) scores."""
        x = jax.nn.relu(self.bn1(self.conv1(images)))
        x = nnx.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))  # pyright: ignore[reportArgumentType]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x)
        return self.fc(x.mean((1, 2)))


def _stage(blocks: int, inputs: int, channels: int, stride: int, rngs: nnx.Rngs) -> nnx.List:
    rest = [Bottleneck(4 * channels, channels, 1, rngs) for _ in range(blocks - 1)]
    return nnx.List([Bottleneck(inputs, channels, stride, rngs), *rest])


def resnet50(state: Mapping[str, np.ndarray], dtype: Any = jnp.float32) -> Callable[[jax.Array], jax.Array]:
    """The network in evaluation form, from a state dict of torchvision's."""
    model = nnx.eval_shape(lambda: ResNet50(nnx.Rngs(0)))
    model.eval()
    names, _, structure = by_name(model)
    ours = {"scale": "weight", "mean": "running_mean", "var": "running_var", "kernel": "weight"}

    def array(name: str) -> jax.Array:
        *path, leaf = name.split("/")
        value = state[".".join([*path, ours.get(leaf, leaf)])]
        if leaf == "kernel":
            value = value.transpose((2, 3, 1, 0) if value.ndim == 4 else (1, 0))
        return jnp.asarray(value, dtype)

    return structure.unflatten(map(array, names))
