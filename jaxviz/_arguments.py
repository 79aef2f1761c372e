"""The checks of the methods' arguments, which come out as arrays of one form."""

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._model import FlatModel

Labels: TypeAlias = ArrayLike | Sequence[int]
Bound: TypeAlias = ArrayLike | Sequence[float | int]
Bounds: TypeAlias = tuple[Bound, Bound]
Baseline: TypeAlias = ArrayLike | Sequence[float | int]


def as_images(images: ArrayLike, *, name: str = "images") -> Float[Array, "n h w c"]:
    images = jnp.asarray(images)
    if images.ndim == 3:
        raise ValueError(
            f"`{name}` must have shape (n, h, w, c), got {images.shape}; add a batch axis with `{name}[None]`."
        )
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"`{name}` must have shape (n, h, w, c), none of them 0, got {images.shape}.")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"`{name}` must be floating point, in the model's input space, got {images.dtype}; "
            f"`jaxviz.images.from_uint8` turns 8-bit RGB into ImageNet-normalized images."
        )
    return images


def as_labels(labels: Labels, model: FlatModel, images: Array | jax.ShapeDtypeStruct, *, name: str) -> Int[Array, " n"]:
    """Class indices, one for each image; an unknown class is an error here where its value can be seen, else a NaN."""
    try:
        labels = jnp.asarray(labels)
    except TypeError as error:
        raise ValueError(f"`{name}` must be integers, got {labels!r}; `jaxviz.labels.find` knows names.") from error
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"`{name}` must have shape (n,), one class index for each image, got {labels.shape}.")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f"`{name}` must be integers, got {labels.dtype}.")
    if labels.shape[0] != images.shape[0]:
        raise ValueError(f"`{name}` must be as many as the images, got {labels.shape[0]} for {images.shape[0]} images.")
    leaves = tuple(map(jax.typeof, model.leaves))
    num_classes = _num_classes(model.structure, leaves, (1, *images.shape[1:]), images.dtype)
    if _has_value(labels):
        for label in labels.tolist():
            if not 0 <= label < num_classes:
                raise IndexError(f"`{name}` must be in 0 to {num_classes - 1}, got {label}.")
    return labels.astype(jnp.int32)


@functools.lru_cache
def _num_classes(
    structure: Any,
    leaves: tuple[jax.core.ShapedArray, ...],
    image_shape: tuple[int, ...],
    image_dtype: Any,
) -> int:
    """Traces the model, once for a shape, and checks what it returns."""
    model = FlatModel([jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves], structure)
    scores = jax.eval_shape(FlatModel.__call__, model, jax.ShapeDtypeStruct(image_shape, image_dtype))
    if not hasattr(scores, "shape") or len(scores.shape) != 2 or scores.shape[0] != 1:
        found = getattr(scores, "shape", type(scores).__name__)
        raise ValueError(f"`model` must return raw scores of shape (n, k), got {found} for one image.")
    return scores.shape[1]


def as_bounds(
    bounds: Bounds | None, images: Array | jax.ShapeDtypeStruct
) -> tuple[Float[Array, "1 1 c"], Float[Array, "1 1 c"]] | None:
    """The pixel range as one lower and one upper value for each channel."""
    if bounds is None:
        return None
    channels = images.shape[-1]
    try:
        lower, upper = (jnp.broadcast_to(jnp.asarray(bound, images.dtype), (channels,))[None, None] for bound in bounds)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`bounds` must be (lower, upper), each a number or one for each of the {channels} channels: {error}"
        ) from error
    if all(map(_has_value, (lower, upper))) and not (lower < upper).all():
        raise ValueError(f"`bounds` must have lower < upper, got {lower} and {upper}.")
    return lower, upper


def as_baseline(baseline: Baseline, images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """What stands for an image without content, as one image for each image."""
    channels = images.shape[-1:]
    try:
        values = jnp.asarray(baseline, images.dtype)
    except (TypeError, ValueError):
        values = jnp.zeros((0, 0))
    if values.shape not in ((), channels, images.shape):
        raise ValueError(
            f"`baseline` must be a number, {channels[0]} numbers (one for each channel) or images of shape "
            f"{images.shape}, got {baseline!r}."
        )
    return jnp.broadcast_to(values, images.shape)


def as_keys(key: Array, count: Any) -> Key[Array, " n"]:
    """One key for each example: folded from the one key given and the example's index, or as given."""
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(f"`key` must be a typed key, `jax.random.key(seed)`, got {key!r}.")
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(count))
    if key.shape != (count,):
        raise ValueError(f"`key` must be one key or {count}, one for each example, got shape {key.shape}.")
    return key


def as_number(
    value: ArrayLike,
    dtype: type,
    *,
    name: str,
    low: float | int = 0,
    high: float | int = math.inf,
    count: Any = None,
) -> Array:
    """A setting as an int32 or float32 scalar, whatever type it came as, so that a new value never compiles again.

    With `count`, so many numbers, one for each example, will do, too.
    """
    kind = jnp.integer if dtype is int else jnp.number
    try:
        number = jnp.asarray(value)
    except TypeError:
        number = jnp.zeros((0, 0))
    if number.shape not in ((), (count,)) or not jnp.issubdtype(number.dtype, kind):
        several = "" if count is None else f" or {count}, one for each example"
        raise ValueError(f"`{name}` must be one {'integer' if dtype is int else 'number'}{several}, got {value!r}.")
    if _has_value(number):
        numbers = np.asarray(number)
        if not ((low <= numbers) & (numbers <= high) & np.isfinite(numbers)).all():
            raise ValueError(f"`{name}` must be finite and in {low} to {high}, got {value}.")
    return number.astype(jnp.int32 if dtype is int else jnp.float32)


def _has_value(array: Array) -> bool:
    """Whether it can be looked at: neither traced, nor in part on another process's devices."""
    return not isinstance(array, jax.core.Tracer) and (array.is_fully_addressable or array.is_fully_replicated)
