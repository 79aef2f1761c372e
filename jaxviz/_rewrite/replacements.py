"""Equal, faster operations for the primitives that are slow in XLA's CPU backend."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType

from jaxviz._rewrite.max_pool import max_pool, max_pool_gradient, windows_of

# Maximum size of a pooling window on one axis, since the replacement is unrolled over its elements. Measured on an AVX2
# machine, value and gradient: up to 11 elements the replacement is 1.4 to 5 times faster than XLA's form; at 14 it is
# equally fast and takes 4 to 7 times as long to compile; from 28 on it is slower and takes 13 to 37 times as long.
_MOST_TAPS = 11


def replacement(equation: Any) -> Callable[..., Array] | None:
    """The faster form of an equation's primitive; None, the original, if the replacement may be wrong."""
    name, params = equation.primitive.name, equation.params
    if name not in ("reduce_window_max", "select_and_scatter_add", "conv_general_dilated", "concatenate"):
        return None
    if not replaceable([atom.aval for atom in equation.invars]):
        return None
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name == "concatenate":
        dimension = int(params["dimension"])
        pieces = any(size > 1 for size in equation.outvars[0].aval.shape[:dimension])
        return functools.partial(_concatenate, dimension=dimension) if pieces else None
    if max(params["window_dimensions"]) > _MOST_TAPS:
        return None
    windows = windows_of(params["window_dimensions"], params["window_strides"], params["padding"])
    if name == "select_and_scatter_add":
        return functools.partial(max_pool_gradient, windows=windows) if params["select_prim"].name == "ge" else None
    undilated = set(params["base_dilation"]) == set(params["window_dilation"]) == {1}
    return functools.partial(max_pool, windows=windows) if undilated else None


def replaceable(inputs: Sequence[Any]) -> bool:
    """Whether operations on arrays of these types are replaced."""
    if not all(jnp.issubdtype(aval.dtype, jnp.floating) for aval in inputs):
        return False
    # Explicit axes are the user's own sharding, which the replacements do not support
    return not any(AxisType.Explicit in aval.sharding.mesh.axis_types for aval in inputs)


def _concatenate(*parts: Array, dimension: int) -> Array:
    """Writes each part into one buffer, in loops that fuse with the part's producer; XLA's own form copies rows."""
    size = sum(part.shape[dimension] for part in parts)
    whole = jnp.zeros((*parts[0].shape[:dimension], size, *parts[0].shape[dimension + 1 :]), parts[0].dtype)
    offset = 0
    for part in parts:
        whole = lax.dynamic_update_slice_in_dim(whole, part, offset, dimension)
        offset += part.shape[dimension]
    return whole


def _convolution(equation: Any) -> Callable[..., Array] | None:
    params = dict(equation.params)
    if (params["feature_group_count"], params["batch_group_count"]) != (1, 1):
        return None
    images, kernel = (atom.aval for atom in equation.invars)
    dimensions, rank = params.pop("dimension_numbers"), images.ndim
    last, space = rank - 1, tuple(range(1, rank - 1))
    canonical = lax.ConvDimensionNumbers((0, last, *space), (last, last - 1, *range(rank - 2)), (0, last, *space))
    window = [kernel.shape[axis] for axis in dimensions.rhs_spec[2:]]
    unit = set(window) == {1} and {*params["window_strides"], *params["lhs_dilation"]} == {1}
    if unit and not any(any(pad) for pad in params["padding"]):

        def convolve(x: Array, kernel: Array) -> Array:
            # The kernel keeps its layout: a matrix product accepts either order, and for one image a transposed copy
            # costs as much as the product.
            o, i, *window = dimensions.rhs_spec
            contract = (((last,), (int(i > o),)), ((), ()))
            precision, dtype = params["precision"], params["preferred_element_type"]
            matrix = lax.squeeze(kernel, window)
            return lax.dot_general(x, matrix, contract, precision=precision, preferred_element_type=dtype)

    elif dimensions == canonical:
        return None
    else:

        def convolve(x: Array, kernel: Array) -> Array:
            # XLA's CPU backend canonicalizes convolutions only in the entry computation. Inside a loop they miss its
            # fast path and are 4 to 6 times slower. The barrier prevents XLA from fusing the transposed kernel back
            # into the convolution. Remove both when XLA canonicalizes in every computation.
            o, i, *window = dimensions.rhs_spec
            kernel = lax.optimization_barrier(lax.transpose(kernel, (*window, i, o)))
            return equation.primitive.bind(x, kernel, dimension_numbers=canonical, **params)

    def canonicalized(x: Array, kernel: Array) -> Array:
        n, c, *space = dimensions.lhs_spec
        y = convolve(lax.transpose(x, (n, *space, c)), kernel)
        out_n, out_c, *out_space = dimensions.out_spec
        return lax.transpose(y, [(out_n, *out_space, out_c).index(axis) for axis in range(rank)])

    return canonicalized
