"""What a model is, and the score or loss that the methods climb.

A *model* is any JAX pytree that can be called: `model(images (n, h, w, c)) -> raw scores (n, k)`. The methods look at
one image at a time (`class_gradient`) and are mapped over the batch, so no image's result depends on its neighbours.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial
from jaxtyping import Array, Float, Int

from jaxviz._accelerate import accelerate

Model: TypeAlias = Callable[[Float[Array, "n h w c"]], Float[Array, "n k"]]


def class_score(
    model: Model, image: Float[Array, "h w c"], label: Int[Array, ""] | None
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """The score of one class (the predicted one for None), NaN where there is no such class, and all scores."""
    scores = model(image[None])[0]
    if label is None:
        label = lax.argmax(scores, 0, jnp.int32)
    known = (label >= 0) & (label < scores.shape[0])
    return jnp.where(known, scores[label], jnp.nan), scores


def class_loss(
    model: Model, image: Float[Array, "h w c"], label: Int[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """The cross-entropy of one class, NaN where there is no such class, and all scores.

    As softplus(log sum exp of the other scores - score): the usual form's gradient, probability less one, is rounding
    alone where a model is sure of the class.
    """
    score, scores = class_score(model, image, label)
    others = jnp.where(jnp.arange(scores.shape[0], dtype=label.dtype) == label, -jnp.inf, scores)
    return jax.nn.softplus(jax.nn.logsumexp(others) - score), scores


def class_gradient(
    model: Model, image: Float[Array, "h w c"], label: Int[Array, ""] | None, *, of: Callable[..., Any] = class_score
) -> tuple[Float[Array, ""], Float[Array, " k"], Float[Array, "h w c"]]:
    """`class_score` or `class_loss` and its gradient with respect to the image, from one evaluation.

    A NaN value has a NaN gradient: without this, an unknown class would have a plausible one of zeros.
    """
    gradient_function = accelerate(jax.value_and_grad(of, argnums=1, has_aux=True))
    (value, scores), gradient = gradient_function(model, image, label)
    return value, scores, jnp.where(jnp.isnan(value), jnp.nan, gradient)


def unit(gradient: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """The gradient over its norm, 0 where it is 0; scaled first, since the squares of a small one would vanish."""
    largest = jnp.abs(gradient).max()
    scaled = gradient / jnp.where(largest == 0, 1, largest)
    norm = jnp.sqrt(jnp.square(scaled).sum())
    return scaled / jnp.where(norm == 0, 1, norm)


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


def _is_number(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))
