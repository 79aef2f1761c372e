"""Equal, faster operations for the primitives that are slow in XLA's CPU backend."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType

from jaxviz._rewrite.convolution import convolution
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
        return convolution(equation)
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
