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
    inputs = []
    for window in windows:
        inputs.append(x)
        x = max_pool(x, [window])
    for window, x in zip(reversed(windows), reversed(inputs), strict=True):
        cotangent = _axis_gradient(cotangent, x, window)
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
    """The first, second, ... elements of all windows, as strided views of x."""
    axis, size, stride, low, high = window
    x = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), [(low, high, 0) if d == axis else (0, 0, 0) for d in range(x.ndim)])
    last = (x.shape[axis] - size) // stride * stride
    return [lax.slice_in_dim(x, tap, tap + last + 1, stride, axis) for tap in range(size)]


def _axis_gradient(cotangent: Array, x: Array, window: Window) -> Array:
    axis, _, stride, low, high = window
    views = _taps(x, window)
    top = functools.reduce(_first_largest, views)
    taken = jnp.zeros(cotangent.shape, bool)
    shares = []
    for view in views:
        first = (view == top) & ~taken
        taken |= first
        shares.append(jnp.where(first, cotangent, jnp.zeros((), cotangent.dtype)))
    spread = interleave(shares, axis, stride, x.shape[axis] + low + high)
    return lax.slice_in_dim(spread, low, low + x.shape[axis], 1, axis)


def interleave(shares: list[Array], axis: int, stride: int, length: int) -> Array:
    """Adds share `tap` of window i at position i * stride + tap: the transpose of strided views.

    Shares that are a multiple of the stride apart have the same positions and are added first. The remaining `stride`
    arrays have no position in common and are interleaved.
    """

    def along(x: Array, low: int, high: int) -> Array:
        return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) if d == axis else (0, 0, 0) for d in range(x.ndim)])

    windows, reach = shares[0].shape[axis], -(-len(shares) // stride)
    rows = windows + reach - 1
    residues = [
        [along(share, tap // stride, rows - windows - tap // stride) for tap, share in enumerate(shares)][
            residue::stride
        ]
        for residue in range(stride)
    ]
    zero = along(jnp.zeros_like(shares[0]), 0, rows - windows)
    mixed = jnp.stack([functools.reduce(jnp.add, parts, zero) for parts in residues], axis + 1)
    mixed = mixed.reshape(*zero.shape[:axis], rows * stride, *zero.shape[axis + 1 :])
    mixed = lax.slice_in_dim(mixed, 0, min(length, rows * stride), 1, axis)
    return along(mixed, 0, max(length - rows * stride, 0))
