"""Faster forms of a convolution for XLA's CPU backend, chosen by its shapes."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxviz._rewrite.winograd import suits_winograd, winograd

# `multiply_then_shift` is faster where the products of all places are few and stay in the caches. Measured on an AMD
# machine: SqueezeNet's input gradients take 0.6 to 0.8 times as long as XLA's convolution on two cores, of which that
# uses one, and as long on one core.
_MOST_PLACES = 9
_MOST_PRODUCTS = 1_000_000


def convolution(equation: Any) -> Callable[..., Array] | None:
    """The faster form of a convolution's equation; None for the original."""
    params = dict(equation.params)
    if (params["feature_group_count"], params["batch_group_count"]) != (1, 1):
        return None
    images, kernel = (atom.aval for atom in equation.invars)
    dimensions, rank = params.pop("dimension_numbers"), images.ndim
    n, c, *space = dimensions.lhs_spec
    o, i, *window = dimensions.rhs_spec
    out_n, out_c, *out_space = dimensions.out_spec
    inputs, outputs, places = kernel.shape[i], kernel.shape[o], [kernel.shape[axis] for axis in window]
    dense = {*params["window_strides"], *params["lhs_dilation"], *params["rhs_dilation"]} == {1}
    last, middle = rank - 1, tuple(range(1, rank - 1))
    canonical = lax.ConvDimensionNumbers((0, last, *middle), (last, last - 1, *range(rank - 2)), (0, last, *middle))

    def multiply(x: Array, kernel: Array) -> Array:
        # The kernel keeps its layout where it can: a matrix product accepts either order, and for one image a
        # transposed copy costs as much as the product.
        contracted = int(i > o)
        matrix = kernel.reshape(-1, inputs) if contracted else jnp.moveaxis(kernel, -2, 0).reshape(inputs, -1)
        contract = (((x.ndim - 1,), (contracted,)), ((), ()))
        precision, dtype = params["precision"], params["preferred_element_type"]
        y = lax.dot_general(x, matrix, contract, precision=precision, preferred_element_type=dtype)
        return y.reshape(*x.shape[:-1], *kernel.shape[:-2], outputs)

    def by_products(form: Callable[..., Array], x: Array, kernel: Array) -> Array:
        return form(x, lax.transpose(kernel, (*window, *sorted((i, o)))), params["padding"], multiply=multiply)

    def canonically(x: Array, kernel: Array) -> Array:
        # XLA's CPU backend canonicalizes convolutions only in the entry computation. Inside a loop they miss its
        # fast path and are 4 to 6 times slower. The barrier prevents XLA from fusing the transposed kernel back
        # into the convolution. Remove both when XLA canonicalizes in every computation.
        kernel = lax.optimization_barrier(lax.transpose(kernel, (*window, i, o)))
        return equation.primitive.bind(x, kernel, dimension_numbers=canonical, **params)

    products = math.prod(images.shape[axis] for axis in space) * math.prod(places) * outputs
    few = outputs < inputs and math.prod(places) <= _MOST_PLACES and products <= _MOST_PRODUCTS
    precise = jnp.finfo(images.dtype).bits >= 32  # the sum of rounded products
    out_shape = [equation.outvars[0].aval.shape[axis] for axis in (*out_space, out_c)]
    if dense and (math.prod(places) == 1 or (few and precise)):
        form = functools.partial(by_products, multiply_then_shift)
    elif dense and images.dtype == jnp.float32 and places == [3, 3] and suits_winograd(out_shape, inputs):
        form = functools.partial(by_products, winograd)
    elif dimensions == canonical:
        return None
    else:
        form = canonically

    def convolve(x: Array, kernel: Array) -> Array:
        y = form(lax.transpose(x, (n, *space, c)), kernel)
        return lax.transpose(y, [(out_n, *out_space, out_c).index(axis) for axis in range(rank)])

    return convolve


def multiply_then_shift(
    x: Array, kernel: Array, padding: Sequence[tuple[int, int]], *, multiply: Callable[[Array, Array], Array]
) -> Array:
    """A convolution with stride 1: one matrix product for all places of the window, whose parts are shifted and added.

    Arguments as for `winograd`, with a window of any shape.

    Reference:
        Vasudevan, Anderson, Gregg, Parallel multi channel convolution using general matrix multiplication,
        arXiv:1704.04428 ("kn2row").
    """
    window = kernel.shape[:-2]
    products = multiply(x, kernel)  # (n, *space, *window, o)
    zero = jnp.zeros((), products.dtype)

    def part(place: tuple[int, ...]) -> Array:
        index = (slice(None),) * (1 + len(place))
        rows = zip(place, window, padding, strict=True)
        edges = [(low - at, high - (size - 1 - at), 0) for at, size, (low, high) in rows]
        return lax.pad(products[(*index, *place)], zero, ((0, 0, 0), *edges, (0, 0, 0)))

    return functools.reduce(jnp.add, map(part, itertools.product(*map(range, window))))
