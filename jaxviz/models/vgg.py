"""VGG16 (Simonyan and Zisserman 2014), equal to torchvision's in evaluation mode."""

from collections import deque
from collections.abc import Iterator

import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxviz.models._layers import adaptive_average_pool, check_images, score_dtype

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_MIN_SIZE = 32  # five halvings
_POOLED = 7  # positions on each axis that the first fully connected layer sees


class VGG16(nnx.Module):
    """VGG16, configuration D: thirteen 3 x 3 convolutions and three fully connected layers.

    Images are RGB in ImageNet-normalized space (`jaxviz.images`), of any size from 32 x 32 on: an adaptive average
    pool reduces every size to the 7 x 7 positions that the fully connected layers need. Raw scores may have any sign.
    Dropout is omitted, since inference does not use it.

    Args:
        num_classes: number of scores k.
        dtype: type of weights and activations; scores are float32 or wider, so that they do not tie.
        rngs: seeds the initial weights.

    Reference:
        Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, arXiv:1409.1556.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxviz.models import VGG16
        >>> model = nnx.eval_shape(lambda: VGG16(rngs=nnx.Rngs(0)))  # only shapes: the weights take 553 MB
        >>> jax.eval_shape(lambda model, images: model(images), model, jnp.zeros((2, 224, 224, 3))).shape
        (2, 1000)
    """

    def __init__(self, *, num_classes: int = 1000, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs):
        self.blocks = nnx.List()
        inputs = 3
        for filters in _BLOCKS:
            block = nnx.List()
            for outputs in filters:
                block.append(nnx.Conv(inputs, outputs, (3, 3), padding=1, dtype=dtype, param_dtype=dtype, rngs=rngs))
                inputs = outputs
            self.blocks.append(block)
        self.fc6 = nnx.Linear(inputs * _POOLED**2, 4096, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.fc7 = nnx.Linear(4096, 4096, dtype=dtype, param_dtype=dtype, rngs=rngs)
        self.fc8 = nnx.Linear(4096, num_classes, dtype=score_dtype(dtype), param_dtype=dtype, rngs=rngs)

    def stages(self, images: Float[Array, "n h w 3"]) -> Iterator[tuple[str, Array]]:
        """Yields the name and the activations of each stage, in order; the last is ("scores", (n, k))."""
        check_images(images, _MIN_SIZE)
        x = images
        for i, block in enumerate(self.blocks, start=1):
            for j, conv in enumerate(block, start=1):
                yield f"conv{i}_{j}", (x := checkpoint_name(nnx.relu(conv(x)), f"conv{i}_{j}"))
            yield f"pool{i}", (x := checkpoint_name(nnx.max_pool(x, (2, 2), strides=(2, 2)), f"pool{i}"))
        yield "average", (x := checkpoint_name(adaptive_average_pool(x, _POOLED), "average"))
        yield "fc6", (x := nnx.relu(self.fc6(x.reshape(len(x), -1))))
        yield "fc7", (x := nnx.relu(self.fc7(x)))
        yield "scores", self.fc8(x)

    def __call__(self, images: Float[Array, "n h w 3"]) -> Float[Array, "n k"]:
        """Raw class scores."""
        [(_, scores)] = deque(self.stages(images), maxlen=1)  # frees the other stages outside `jit`
        return scores
