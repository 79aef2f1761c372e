"""Max pooling and its gradient by masks and strided views, one axis at a time.

Values and the choice among ties (the first in row-major order) equal those of XLA's `reduce_window` and
`select_and_scatter`. On CPU this form is faster: for SqueezeNet's first pooling, 4 times forward and 6 times for the
gradient. It consists of ordinary operations, so every JAX transformation applies.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class Window(NamedTuple):
    """The windows along one axis."""

    axis: int
    size: int
    stride: int
    low: int
    high: int


def max_pool(x: Array, windows: list[Window]) -> Array:
    """Maximum of each window, one axis after the other."""
    for window in windows:
        x = functools.reduce(_first_largest, _taps(x, window))
    return x


def max_pool_gradient(cotangent: Array, x: Array, windows: list[Window]) -> Array:
    """Adds each window's cotangent to the first of its largest elements."""
    kept = []
    for window in windows:
        largest, *others = _taps(x, window)
        keeps = []  # whether the largest so far stays the largest
        for tap in others:
            keeps.append(largest >= tap)
            largest = jnp.where(keeps[-1], largest, tap)
        kept.append((keeps, x.shape[window.axis]))
        x = largest
    for window, (keeps, length) in zip(reversed(windows), reversed(kept), strict=True):
        cotangent = _axis_gradient(cotangent, keeps, window, length)
    return cotangent


def windows_of(dimensions: tuple[int, ...], strides: tuple[int, ...], padding: tuple[tuple[int, int], ...]):
    """The windows of the pooled axes. The last axis comes first, so that ties go to the first in row-major order."""
    rows = enumerate(zip(dimensions, strides, padding, strict=True))
    windows = [Window(axis, size, stride, *pad) for axis, (size, stride, pad) in rows]
    return [window for window in reversed(windows) if window[1:] != (1, 1, 0, 0)]


def _first_largest(a: Array, b: Array) -> Array:
    """The maximum. If both are equal, the derivative goes only to `a`; `jnp.maximum` would split it."""
    return jnp.where((a >= b) | jnp.isnan(a), a, b)


def _taps(x: Array, window: Window) -> list[Array]:
    """The first, second, ... elements of all windows.

    They are views of x split into rows of one stride, for which x is padded. XLA's CPU backend writes the padded array
    once; of strided slices of x it would compute x again, with the bias before the pooling, for each use.
    """
    axis, size, stride, low, high = window
    windows = (low + x.shape[axis] + high - size) // stride + 1
    rows = windows - 1 + -(-size // stride)
    edges = (low, rows * stride - low - x.shape[axis], 0)
    x = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), [edges if d == axis else (0, 0, 0) for d in range(x.ndim)])
    x = x.reshape(*x.shape[:axis], rows, stride, *x.shape[axis + 1 :])
    columns = [lax.index_in_dim(x, column, axis + 1, keepdims=False) for column in range(stride)]
    return [
        lax.slice_in_dim(columns[tap % stride], tap // stride, tap // stride + windows, 1, axis) for tap in range(size)
    ]


def _axis_gradient(cotangent: Array, keeps: list[Array], window: Window, length: int) -> Array:
    axis, _, stride, low, high = window
    nothing = jnp.zeros((), cotangent.dtype)
    shares = []
    for keep in reversed(keeps):  # what the last tap does not take is left to those before it
        shares.append(jnp.where(keep, nothing, cotangent))
        cotangent = jnp.where(keep, cotangent, nothing)
    spread = interleave([cotangent, *reversed(shares)], axis, stride, low + length + high)
    return lax.slice_in_dim(spread, low, low + length, 1, axis)


def interleave(shares: list[Array], axis: int, stride: int, length: int) -> Array:
    """Adds share `tap` of window i at position i * stride + tap: the transpose of strided views.

    Shares that are a multiple of the stride apart have the same positions and are added first. The remaining `stride`
    arrays have no position in common and are interleaved.
    """

    def along(x: Array, low: int, high: int) -> Array:
        return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if d == axis else (0, 0, 0) for d in range(x.ndim)])

    windows, reach = shares[0].shape[axis], -(-len(shares) // stride)
    rows = windows + reach - 1
    moved = [along(share, tap // stride, rows - windows - tap // stride) for tap, share in enumerate(shares)]
    nothing = jnp.zeros_like(moved[0])  # where the stride is larger than the window
    residues = [moved[residue::stride] or [nothing] for residue in range(stride)]
    mixed = jnp.stack([functools.reduce(jnp.add, parts) for parts in residues], axis + 1)
    mixed = mixed.reshape(*nothing.shape[:axis], rows * stride, *nothing.shape[axis + 1 :])
    mixed = lax.slice_in_dim(mixed, 0, min(length, rows * stride), 1, axis)
    return along(mixed, 0, max(length - rows * stride, 0))
