"""Checks the methods' arguments and converts them to arrays of a fixed form."""

import contextlib
import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._core.model import FlatModel, num_classes, working_dtype

Labels: TypeAlias = ArrayLike | Sequence[int]
Bound: TypeAlias = ArrayLike | Sequence[float | int]
Bounds: TypeAlias = tuple[Bound, Bound]
Baseline: TypeAlias = ArrayLike | Sequence[float | int]


def as_images(images: ArrayLike, *, name: str = "images", ndim: int = 4) -> Float[Array, "n *size c"]:
    """Images (n, h, w, c); with `ndim=3` tokens (n, t, c)."""
    array = as_array(images)
    shape = "(n, h, w, c)" if ndim == 4 else "(n, t, c)"
    if array.ndim == ndim - 1:
        raise ValueError(f"`{name}` must have shape {shape}, got {array.shape}; add a batch axis with `{name}[None]`.")
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"`{name}` must have shape {shape}, none of them 0, got {array.shape}.")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` must be floating point, in the model's input space, got {array.dtype}; "
            f"`jaxviz.images.from_uint8` converts 8-bit RGB to ImageNet-normalized images."
        )
    return on_device(array, array.dtype)


def as_labels(labels: Labels, model: FlatModel, images: Array | jax.ShapeDtypeStruct, *, name: str) -> Int[Array, " n"]:
    """Class indices, one for each image. An unknown class raises an error if its value is known, else it becomes -1."""
    try:
        array = as_array(labels)
    except (TypeError, ValueError):  # for example, rows of unequal length
        array = np.asarray(None)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"`{name}` must have shape (n,), one class index for each image, got {array.shape}.")
    if not jnp.issubdtype(array.dtype, jnp.integer):
        hint = "; `jaxviz.labels.find` converts names" if array.dtype.kind in "OSU" else ""
        raise ValueError(f"`{name}` must be integers, got {array.dtype}{hint}.")
    if array.shape[0] != images.shape[0]:
        raise ValueError(f"`{name}` must be as many as the images, got {array.shape[0]} for {images.shape[0]} images.")
    count = num_classes(model, images.shape[1:], images.dtype)
    if not _has_value(array):
        # Check before the conversion to int32: 2**32 + 1 would become class 1.
        last = min(count - 1, jnp.iinfo(array.dtype).max)
        return jnp.where((array >= 0) & (array <= last), array, -1).astype(jnp.int32)
    for label in jax.device_get(array).tolist():
        if not 0 <= label < count:
            raise IndexError(f"`{name}` must be in 0 to {count - 1}, got {label}.")
    return on_device(array, np.int32)


def as_bounds(
    bounds: Bounds | None, images: Array | jax.ShapeDtypeStruct
) -> tuple[Float[Array, "1 1 c"], Float[Array, "1 1 c"]] | None:
    """The pixel range as one lower and one upper value for each channel."""
    if bounds is None:
        return None
    channels, dtype = images.shape[-1], working_dtype(images.dtype)
    try:
        both = [as_array(bound) for bound in bounds]
        lower, upper = (on_device(bound, dtype, (1, 1, channels)) for bound in both)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`bounds` must be (lower, upper), each a number or one for each of the {channels} channels: {error}"
        ) from error
    if all(map(_has_value, both)) and not (np.less(*jax.device_get(both))).all():
        raise ValueError(f"`bounds` must have lower < upper, got {bounds[0]} and {bounds[1]}.")
    return lower, upper


def as_baseline(baseline: Baseline, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The input without content, as one image for each image."""
    channels = images.shape[-1:]
    try:
        values = as_array(baseline)
    except (TypeError, ValueError):
        values = np.zeros((0, 0))
    if values.shape not in ((), channels, images.shape) or not jnp.issubdtype(values.dtype, jnp.number):
        raise ValueError(
            f"`baseline` must be a number, {channels[0]} numbers (one for each channel) or images of shape "
            f"{images.shape}, got {baseline!r}."
        )
    return on_device(values, images.dtype, images.shape)


def as_keys(key: Array, count: Any) -> Key[Array, " n"]:
    """One key for each example: folded from a single key and the example's index, or the given keys."""
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(f"`key` must be a typed key, `jax.random.key(seed)`, got {key!r}.")
    if key.ndim == 0:
        return _folded(key, count)
    if key.shape != (count,):
        raise ValueError(f"`key` must be one key or {count}, one for each example, got shape {key.shape}.")
    return key


@functools.partial(jax.jit, static_argnums=1)
def _folded(key: Key[Array, ""], count: Any) -> Key[Array, " n"]:
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))


def as_number(
    value: ArrayLike,
    dtype: type,
    *,
    name: str,
    low: float | int = 0,
    high: float | int = math.inf,
    count: Any = None,
) -> Array:
    """A setting as a scalar of a fixed type, so that a new value never compiles again.

    The type is int32, or float32 (float64 if x64 is enabled). With `count`, an array of `count` numbers, one for each
    example, is also accepted.
    """
    kind = jnp.integer if dtype is int else jnp.number
    try:
        number = as_array(value)
    except (TypeError, ValueError):
        number = np.zeros((0, 0))
    if number.shape not in ((), (count,)) or not jnp.issubdtype(number.dtype, kind):
        several = "" if count is None else f" or {count}, one for each example"
        raise ValueError(f"`{name}` must be one {'integer' if dtype is int else 'number'}{several}, got {value!r}.")
    if _has_value(number):
        numbers = jax.device_get(number)
        if not ((low <= numbers) & (numbers <= high) & np.isfinite(numbers)).all():
            raise ValueError(f"`{name}` must be finite and in {low} to {high}, got {value}.")
    return on_device(number, np.int32 if dtype is int else jax.dtypes.canonicalize_dtype(np.float64))


def as_size(value: SupportsIndex, *, name: str, low: int = 1, high: int | float = math.inf) -> int:
    """A size that is compiled into the program, such as a number of steps, as a Python integer."""
    if not isinstance(value, (bool, np.bool_, jax.Array)):
        with contextlib.suppress(TypeError):
            number = operator.index(value)
            if low <= number <= high:
                return number
    limits = f"of {low} or more" if high == math.inf else f"in {low} to {high}"
    raise ValueError(f"`{name}` must be an integer {limits}, got {value!r}.")


def as_array(value: Any) -> Any:
    """A NumPy array if no part of the value is on a device, so that it is checked on the host and moved once."""
    on_device = any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value))
    return jnp.asarray(value) if on_device else np.asarray(value)


def on_device(values: Any, dtype: Any, shape: tuple[Any, ...] | None = None) -> Array:
    """Converts to a JAX array of this type, broadcast to the shape."""
    values = values.astype(dtype)
    values = values if isinstance(values, jax.Array) else jax.device_put(values)
    if shape is None:
        return values
    return jnp.broadcast_to(values.reshape((1,) * (len(shape) - values.ndim) + values.shape), shape)


def _has_value(array: Any) -> bool:
    """Whether the value is known: not traced, and not partly on another process's devices."""
    if not isinstance(array, jax.Array):
        return True
    return not isinstance(array, jax.core.Tracer) and (array.is_fully_addressable or array.is_fully_replicated)
