"""The primitives that XLA's CPU backend does badly, and equal, faster ordinary operations for each."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType

from jaxviz._rewrite.max_pool import max_pool, max_pool_gradient, windows_of

# Most elements of a pooling window on one axis that the replacement takes, since it is unrolled over them. Measured on
# an AVX2 machine, value and gradient: up to 11 it is 1.4 to 5 times faster than XLA's own form; at 14 it is even, and
# takes 4 to 7 times as long to compile; at 28 and more it is slower, and takes 13 to 37 times as long.
_MOST_TAPS = 11


def replacement(equation: Any) -> Callable[..., Array] | None:
    """The faster form of an equation's primitive, or None: not sure means the original."""
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
    """Whether operations on arrays of such types are replaced at all."""
    if not all(jnp.issubdtype(aval.dtype, jnp.floating) for aval in inputs):
        return False
    # Explicit: the user's own layout over devices, which the replacements know nothing of
    return not any(AxisType.Explicit in aval.sharding.mesh.axis_types for aval in inputs)


def _concatenate(*parts: Array, dimension: int) -> Array:
    """Part by part into one buffer, in loops that what makes the parts is fused into; XLA's own copies row by row."""
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
            # The kernel is left as it lies: a matrix product takes either order, and a transposed copy costs as much
            # as the product itself where there is one image.
            o, i, *window = dimensions.rhs_spec
            contract = (((last,), (int(i > o),)), ((), ()))
            precision, dtype = params["precision"], params["preferred_element_type"]
            matrix = lax.squeeze(kernel, window)
            return lax.dot_general(x, matrix, contract, precision=precision, preferred_element_type=dtype)

    elif dimensions == canonical:
        return None
    else:

        def convolve(x: Array, kernel: Array) -> Array:
            # XLA's CPU backend brings convolutions into the form that its fast path takes in the entry computation
            # alone, so one inside a loop runs 4 to 6 times slower. The barrier keeps the transposed kernel from being
            # fused back into the convolution. Both can go when XLA canonicalizes in every computation.
            o, i, *window = dimensions.rhs_spec
            kernel = lax.optimization_barrier(lax.transpose(kernel, (*window, i, o)))
            return equation.primitive.bind(x, kernel, dimension_numbers=canonical, **params)

    def canonicalized(x: Array, kernel: Array) -> Array:
        n, c, *space = dimensions.lhs_spec
        y = convolve(lax.transpose(x, (n, *space, c)), kernel)
        out_n, out_c, *out_space = dimensions.out_spec
        return lax.transpose(y, [(out_n, *out_space, out_c).index(axis) for axis in range(rank)])

    return canonicalized
