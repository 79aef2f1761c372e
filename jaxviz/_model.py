"""What a model is, the score that the methods climb, and the checks of their arguments.

A *model* is any JAX pytree that can be called: `model(images (n, h, w, c)) -> raw scores (n, k)`. The methods look at
one image at a time (`class_gradient`) and are mapped over the batch, so no image's result depends on its neighbours.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxviz._accelerate import accelerate

Model: TypeAlias = Callable[[Float[Array, "n h w c"]], Float[Array, "n k"]]
Labels: TypeAlias = ArrayLike | Sequence[int]
Bound: TypeAlias = ArrayLike | Sequence[float | int]
Bounds: TypeAlias = tuple[Bound, Bound]


def class_score(
    model: Model, image: Float[Array, "h w c"], label: Int[Array, ""] | None
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """The score of one class (the predicted one for None), NaN where there is no such class, and all scores."""
    scores = model(image[None])[0]
    if label is None:
        label = lax.argmax(scores, 0, jnp.int32)
    known = (label >= 0) & (label < scores.shape[0])
    return jnp.where(known, scores[label], jnp.nan), scores


def class_gradient(
    model: Model, image: Float[Array, "h w c"], label: Int[Array, ""] | None
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "h w c"]]:
    """`class_score` and its gradient with respect to the image, from one evaluation.

    A NaN score has a NaN gradient: without this, an unknown class would have a plausible one of zeros.
    """
    gradient_function = accelerate(jax.value_and_grad(class_score, argnums=1, has_aux=True))
    (score, scores), gradient = gradient_function(model, image, label)
    return score, scores, jnp.where(jnp.isnan(score), jnp.nan, gradient)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FlatModel:
    """A model flattened once for a call: an NNX module takes half a millisecond each time."""

    leaves: list[Any]
    structure: Any = field(metadata={"static": True})  # a PyTreeDef

    def __call__(self, images: Float[Array, "n h w c"]) -> Any:
        return self.structure.unflatten(self.leaves)(images)


def as_model(model: Any) -> FlatModel:
    """The model as a pytree of arrays; a plain function has no leaves and is told apart by its identity."""
    if not callable(model):
        raise ValueError(f"`model` must be callable, `model(images) -> scores`, got {type(model).__name__}.")
    leaves, structure = jax.tree.flatten(model)
    if jax.tree_util.treedef_is_leaf(structure):
        leaves, structure = jax.tree.flatten(Partial(model))
    if not all(map(_is_number, leaves)):
        path, leaf = next(found for found in jax.tree_util.tree_leaves_with_path(model) if not _is_number(found[1]))
        raise ValueError(
            f"`model` must have arrays alone as leaves, got {type(leaf).__name__} at {jax.tree_util.keystr(path)}; "
            f"split the arrays off and wrap the rest with `jax.tree_util.Partial`, as the README shows for Equinox."
        )
    return FlatModel(leaves, structure)


def _has_value(array: Array) -> bool:
    """Whether it can be looked at: neither traced, nor in part on another process's devices."""
    return not isinstance(array, jax.core.Tracer) and (array.is_fully_addressable or array.is_fully_replicated)


def _is_number(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))


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


def as_number(value: ArrayLike, dtype: type, *, name: str, low: float | int = 0, high: float | int = math.inf) -> Array:
    """A setting as an int32 or float32 scalar, whatever type it came as, so that a new value never compiles again."""
    kind = jnp.integer if dtype is int else jnp.number
    try:
        number = jnp.asarray(value)
    except TypeError:
        number = jnp.zeros(0)
    if number.ndim != 0 or not jnp.issubdtype(number.dtype, kind):
        raise ValueError(f"`{name}` must be one {'integer' if dtype is int else 'number'}, got {value!r}.")
    if _has_value(number) and not (low <= number.item() <= high and math.isfinite(number.item())):
        raise ValueError(f"`{name}` must be finite and in {low} to {high}, got {value}.")
    return number.astype(jnp.int32 if dtype is int else jnp.float32)
