"""3 x 3 convolutions with 2.25 times fewer multiplications: Winograd's form F(2 x 2, 3 x 3), for CPUs.

Each output tile Y of 2 x 2 pixels depends on an input tile d of 4 x 4 pixels. With a kernel g of 3 x 3,

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A,

where ⊙ multiplies place by place. With channels, each of the 16 places is one matrix product over all tiles. XLA's CPU
backend runs a large matrix product on all cores and most convolutions on one. Only ordinary operations are used, so
every JAX transformation applies.

Reference: Lavin, Gray, Fast algorithms for convolutional neural networks, arXiv:1509.09308.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

# XLA takes 0.2 s longer to compile each convolution in this form. Only large convolutions are worth that: with so many
# multiplications saved per image, VGG16's saliency maps take 0.8 times as long to compute and 2.7 times to compile.
_LEAST_SAVED = 600_000_000
# With more values in the transformed input and output, memory traffic takes longer than the multiplications saved
# (VGG16's layer of 224 x 224 pixels and 64 channels: 31 ms instead of 21).
_MOST_VALUES = 16_000_000


def suits_winograd(output_shape: Sequence[int], inputs: int) -> bool:
    """Whether this form is faster than XLA's own, for one output image (h, w, o) from so many input channels."""
    height, width, outputs = output_shape
    tiles = -(-height // 2) * -(-width // 2)
    saved = (4 * 9 - 16) * tiles * inputs * outputs
    values = 16 * tiles * (inputs + outputs)
    return saved >= _LEAST_SAVED and values <= _MOST_VALUES


def winograd(
    x: Array, kernel: Array, padding: Sequence[tuple[int, int]], *, multiply: Callable[[Array, Array], Array]
) -> Array:
    """A convolution with stride 1.

    Args:
        x: (n, h, w, c) images.
        kernel: (3, 3, ...), for each place of the window a matrix of the channels.
        padding: low and high padding of the height and of the width.
        multiply: the product of pixels (n, rows, columns, c) and a matrix.
    """
    (top, bottom), (left, right) = padding
    height, width = x.shape[1] + top + bottom - 2, x.shape[2] + left + right - 2
    rows, columns = -(-height // 2), -(-width // 2)  # of tiles
    edges = ((0, 0, 0), (top, bottom + 2 * rows - height, 0), (left, right + 2 * columns - width, 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edges)
    inputs = [
        _transform_input([row[:, :, j : j + 2 * columns : 2] for j in range(4)])
        for row in _transform_input([x[:, i : i + 2 * rows : 2] for i in range(4)])
    ]
    kernels = _on_both_axes(_transform_kernel, [[kernel[i, j] for j in range(3)] for i in range(3)])
    products = [list(map(multiply, *pair)) for pair in zip(inputs, kernels, strict=True)]
    tiles = _on_both_axes(_transform_output, products)
    y = jnp.stack([jnp.stack(row, 3) for row in tiles], 2)
    return y.reshape(len(y), 2 * rows, 2 * columns, -1)[:, :height, :width]


def _transform_input(d: Sequence[Any]) -> list[Any]:
    """Bᵀ d."""
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _transform_kernel(g: Sequence[Any]) -> list[Any]:
    """G g; symmetric in g[0] and g[2], so that XLA computes it once for a kernel and its reverse, the gradient's."""
    ends = g[0] + g[2]
    return [g[0], (ends + g[1]) / 2, (ends - g[1]) / 2, g[2]]


def _transform_output(m: Sequence[Any]) -> list[Any]:
    """Aᵀ m."""
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _on_both_axes(transform: Callable[[Sequence[Any]], list[Any]], grid: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """The transform of each row of a grid, then of each column."""
    columns = zip(*map(transform, grid), strict=True)
    return [list(row) for row in zip(*map(transform, columns), strict=True)]
