"""SqueezeNet 1.0 and 1.1 (Iandola et al. 2016), equal to torchvision's in evaluation mode."""

from collections import deque
from collections.abc import Iterator
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxviz.models._layers import check_images, max_pool_ceil, score_dtype

# (squeeze, expand) filters of fire2 to fire9; each has a 1 x 1 and a 3 x 3 expansion
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
# filters and kernel of conv1; the fires before a pooling; the smallest image size
_VERSIONS = {"1_0": (96, 7, (4, 8), 21), "1_1": (64, 3, (3, 5), 17)}


class Fire(nnx.Module):
    """A 1 x 1 squeeze, then parallel 1 x 1 and 3 x 3 expansions."""

    def __init__(self, inputs: int, squeeze: int, expand: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        def conv(inputs: int, outputs: int, size: int) -> nnx.Conv:
            padding = size // 2
            return nnx.Conv(inputs, outputs, (size, size), padding=padding, dtype=dtype, param_dtype=dtype, rngs=rngs)

        self.squeeze = conv(inputs, squeeze, 1)
        self.expand1x1 = conv(squeeze, expand, 1)
        self.expand3x3 = conv(squeeze, expand, 3)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        """The two expansions, concatenated along the channels."""
        x = nnx.relu(self.squeeze(x))
        return jnp.concatenate([nnx.relu(self.expand1x1(x)), nnx.relu(self.expand3x3(x))], axis=-1)


class SqueezeNet(nnx.Module):
    """SqueezeNet, a fully convolutional classifier: images (n, h, w, 3) -> raw scores (n, k).

    Images are RGB in ImageNet-normalized space (`jaxviz.images`), of any size from 21 x 21 (1.0) or 17 x 17 (1.1)
    on. The scores are averages of ReLU outputs over positions: none is negative, and a class that no position supports
    has score 0 and an exactly zero gradient. Dropout is omitted, since inference does not use it.

    Args:
        version: "1_0", the network of the paper, or "1_1", its authors' successor: equal accuracy, 2.4 times cheaper.
        num_classes: number of scores k.
        dtype: type of weights and activations; scores are float32 or wider, so that they do not tie.
        rngs: seeds the initial weights.

    Raises:
        ValueError: unknown `version`.

    Reference:
        Iandola et al., SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size,
        arXiv:1602.07360.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxviz.models import SqueezeNet
        >>> model = SqueezeNet("1_1", num_classes=10, rngs=nnx.Rngs(0))
        >>> jax.jit(lambda model, images: model(images))(model, jnp.zeros((2, 64, 64, 3))).shape
        (2, 10)
    """

    def __init__(
        self,
        version: Literal["1_0", "1_1"],
        *,
        num_classes: int = 1000,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if version not in _VERSIONS:
            raise ValueError(f"`version` must be one of {', '.join(map(repr, _VERSIONS))}, got {version!r}.")
        filters, kernel, self.pooled_fires, self.min_size = _VERSIONS[version]
        inputs = (filters, *(2 * expand for _, expand in _FIRES))
        self.conv1 = nnx.Conv(
            3, filters, (kernel, kernel), strides=2, padding="VALID", dtype=dtype, param_dtype=dtype, rngs=rngs
        )
        self.fires = nnx.List(
            Fire(n, squeeze, expand, dtype=dtype, rngs=rngs)
            for n, (squeeze, expand) in zip(inputs[:-1], _FIRES, strict=True)
        )
        self.conv10 = nnx.Conv(inputs[-1], num_classes, (1, 1), dtype=dtype, param_dtype=dtype, rngs=rngs)

    def stages(self, images: Float[Array, "n h w 3"]) -> Iterator[tuple[str, Array]]:
        """Yields the name and the activations of each stage, in order; the last is ("scores", (n, k))."""
        check_images(images, self.min_size)
        yield "conv1", (x := nnx.relu(self.conv1(images)))
        yield "pool1", (x := checkpoint_name(max_pool_ceil(x), "pool1"))
        for i, fire in enumerate(self.fires, start=2):
            yield f"fire{i}", (x := checkpoint_name(fire(x), f"fire{i}"))
            if i in self.pooled_fires:
                # One expansion at a time: the gradient of the pooling then does not need the joined array
                pooled = [max_pool_ceil(part) for part in jnp.split(x, 2, axis=-1)]
                yield f"pool{i}", (x := checkpoint_name(jnp.concatenate(pooled, axis=-1), f"pool{i}"))
        yield "conv10", (x := nnx.relu(self.conv10(x)))
        yield "scores", x.mean((1, 2), dtype=score_dtype(x.dtype))

    def __call__(self, images: Float[Array, "n h w 3"]) -> Float[Array, "n k"]:
        """Raw class scores."""
        [(_, scores)] = deque(self.stages(images), maxlen=1)  # frees the other stages outside `jit`
        return scores
