"""Layers whose treatment of edges differs between PyTorch and Flax."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def check_images(images: Float[Array, "..."], min_size: int) -> None:
    """Checks the images, so that the error names their shape and not that of an inner convolution."""
    if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < min_size:
        raise ValueError(
            f"`images` must have shape (n, h, w, 3) with h and w >= {min_size}, got {images.shape}; "
            f"load files with `jaxviz.images.load`, which returns that shape."
        )


def score_dtype(dtype: DTypeLike) -> DTypeLike:
    """The type of a network's scores. In bfloat16 many would tie; the prediction would depend on the class order."""
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.float32


def max_pool_ceil(x: Float[Array, "n h w c"]) -> Float[Array, "n oh ow c"]:
    """3 x 3 maximum, stride 2; the last window may extend past the edge (PyTorch's `ceil_mode`)."""
    overhang = [(0, (size - 3) % 2) for size in x.shape[1:3]]
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=overhang)  # pyright: ignore[reportArgumentType]


def adaptive_average_pool(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n size size c"]:
    """PyTorch's `AdaptiveAvgPool2d`: output i is the mean of inputs floor(i n / size) to ceil((i + 1) n / size)."""
    rows, columns = (_bin_means(n, size) for n in x.shape[1:3])
    if x.shape[1:3] == (size, size):
        return x
    return jnp.einsum("nhwc,ih,jw->nijc", x, jnp.asarray(rows, x.dtype), jnp.asarray(columns, x.dtype))


def _bin_means(n: int, bins: int) -> np.ndarray:
    means = np.zeros((bins, n))
    for i in range(bins):
        start, stop = i * n // bins, -(-(i + 1) * n // bins)
        means[i, start:stop] = 1 / (stop - start)
    return means
