"""The model, and the score or loss that the methods differentiate.

A *model* is any JAX pytree that can be called: `model(images (n, h, w, c)) -> raw scores (n, k)`. The methods are
functions of one image (`class_gradient`), mapped over the batch, so an image's result does not depend on the others.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.core
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial, keystr, tree_flatten_with_path, tree_leaves_with_path
from jaxtyping import Array, Bool, Float, Int

Model: TypeAlias = Callable[[Float[Array, "n h w c"]], Float[Array, "n k"]]


def class_score(
    model: Model, image: Float[Array, "*size c"], label: Int[Array, ""] | None
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """The score of one class (the prediction for None; NaN for an unknown class), and all scores.

    All are NaN if a value of the image is NaN.
    """
    scores = model(image[None])[0]
    scores = jnp.where(_has_nan(image), jnp.nan, scores)
    if label is None:
        label = lax.argmax(scores, 0, jnp.int32)
    known = (label >= 0) & (label < scores.shape[0])
    return jnp.where(known, scores[label], jnp.nan), scores


def class_loss(
    model: Model, image: Float[Array, "h w c"], label: Int[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """The cross-entropy of one class (NaN for an unknown class), and all scores.

    Computed as softplus(log sum exp of the other scores - score). The gradient of the usual form contains the
    probability minus one, which is only rounding error if the probability is close to 1.
    """
    score, scores = class_score(model, image, label)
    others = jnp.where(jnp.arange(scores.shape[0], dtype=label.dtype) == label, -jnp.inf, scores)
    return jax.nn.softplus(jax.nn.logsumexp(others) - score), scores


def class_gradient(
    model: Model,
    image: Any,
    label: Int[Array, ""] | None,
    *,
    objective: Callable[..., Any] = class_score,
) -> tuple[Float[Array, ""], Any, Any]:
    """The objective, all scores, and the objective's gradient with respect to the image, from one evaluation.

    An objective is (model, image, label) -> (value, scores). The image may be any pytree that the objective accepts.
    A NaN value gets a NaN gradient: otherwise an unknown class would get a plausible gradient of zeros.
    """
    gradient_function = jax.value_and_grad(objective, argnums=1, has_aux=True)
    (value, scores), gradient = gradient_function(model, image, label)
    return value, scores, jax.tree.map(lambda leaf: jnp.where(jnp.isnan(value), jnp.nan, leaf), gradient)


def largest_magnitude(gradient: Float[Array, "h w c"]) -> Float[Array, "h w"]:
    """The largest absolute value over the channels; NaN if a channel is NaN."""
    return jnp.where(_has_nan(gradient, axis=-1), jnp.nan, jnp.abs(gradient).max(-1))


def _has_nan(x: Float[Array, "..."], *, axis: int | None = None) -> Bool[Array, "..."]:
    """Whether a value is NaN, on CPU only. On other platforms False, because a maximum of NaN is NaN there.

    XLA's CPU backend loses NaN in the maximum of a large array (jaxlib 0.10.2: over the last axis of 64 x 64 x 3 values
    of NaN it is -inf), and in max pooling. On a TPU the check would read the array once more without need.
    """

    def on_cpu(x: Array) -> Array:
        return jnp.isnan(x).any(axis)

    def elsewhere(x: Array) -> Array:
        return jnp.zeros_like(x, shape=jax.eval_shape(on_cpu, x).shape, dtype=bool)

    return lax.platform_dependent(lax.stop_gradient(x), cpu=on_cpu, default=elsewhere)


def l2_norm(x: Float[Array, "..."]) -> Float[Array, ""]:
    """The Euclidean norm of all values, with derivative 0 at norm 0."""
    squares = jnp.square(x).sum()
    return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares)))


def l2_normalize(gradient: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
    """The gradient divided by its norm; zero stays zero. Scaled first, since the squares of small values underflow."""
    largest = lax.stop_gradient(jnp.abs(gradient).max())  # this factor cancels
    scaled = gradient / jnp.where(largest == 0, 1, largest)
    norm = l2_norm(scaled)
    return scaled / jnp.where(norm == 0, 1, norm)


def working_dtype(dtype: Any) -> Any:
    """The type in which steps and samples add up: the images' type, but float32 or wider."""
    return dtype if jnp.finfo(dtype).bits > 32 else jnp.dtype(jnp.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class FlatModel:
    """A model flattened once per call, since flattening an NNX module takes half a millisecond."""

    leaves: list[Any]
    structure: Any = field(metadata={"static": True})  # a PyTreeDef

    def __call__(self, images: Float[Array, "n ..."]) -> Any:
        return _scores(self, images)


# `jit` is used only for its cache: a model is traced once for each shape of images. Inline, so that autodiff and
# `accelerate` see one flat program.
@partial(jax.jit, inline=True)
def _scores(model: FlatModel, images: Float[Array, "n ..."]) -> Any:
    return apply(model.structure.unflatten(model.leaves), images)


def apply(module: Any, images: Float[Array, "n ..."]) -> Any:
    """The module's output; an error if the call changes the module."""
    before, structure = tree_flatten_with_path(module)
    scores = module(images)
    after = dict(tree_leaves_with_path(module))
    changed = [path for path, leaf in before if after.get(path) is not leaf]
    if changed and (changed := _changed(changed, structure, [leaf for _, leaf in before], images)):
        raise ValueError(
            f"`model` changes its own state at {keystr(changed[0])} when it is called, so it is in training mode: the "
            f"scores of an image depend on the other images or on chance; call `model.eval()` first."
        )
    return scores


def _changed(paths: list[Any], structure: Any, leaves: list[Any], images: Array) -> list[Any]:
    """Those of the paths whose leaf has a new value. Transformations such as `nnx.remat` return equal, new arrays."""
    after = {}

    def call(leaves: list[Any], images: Array) -> list[Any]:
        module = structure.unflatten(leaves)
        module(images)
        after.update(tree_leaves_with_path(module))
        return [after.get(path) for path in paths]

    jaxpr = jax.make_jaxpr(call)(leaves, images).jaxpr
    places = {path: place for place, (path, _) in enumerate(tree_leaves_with_path(structure.unflatten(leaves)))}
    return [
        path
        for path, output in zip(paths, jaxpr.outvars, strict=True)
        if _origin(jaxpr, output) is not jaxpr.invars[places[path]]
    ]


# Operations of a traced program that call a function
CALLS = ("jit", "pjit", "closed_call", "checkpoint", "remat2")


def _origin(jaxpr: Any, variable: Any) -> Any:
    """The variable that is passed through calls of functions to this one."""
    for equation in jaxpr.eqns:
        if variable in equation.outvars and equation.primitive.name in CALLS:
            inner = equation.params["jaxpr"]
            inner = getattr(inner, "jaxpr", inner)
            source = _origin(inner, inner.outvars[equation.outvars.index(variable)])
            if source in inner.invars:
                return _origin(jaxpr, equation.invars[inner.invars.index(source)])
    return variable


def num_classes(model: FlatModel, image_shape: tuple[int, ...], dtype: Any) -> int:
    """The number of scores per image; checks the model's output."""
    scores = jax.eval_shape(_scores, model, jax.ShapeDtypeStruct((1, *image_shape), dtype))
    if not hasattr(scores, "shape") or len(scores.shape) != 2 or scores.shape[0] != 1:
        returned = getattr(scores, "shape", type(scores).__name__)
        raise ValueError(f"`model` must return raw scores of shape (n, k), got {returned} for one image.")
    return scores.shape[1]


def as_model(model: Any) -> FlatModel:
    """The model as a pytree of arrays. A plain function has no leaves and is identified by its object."""
    if not callable(model):
        raise ValueError(f"`model` must be callable, `model(images) -> scores`, got {type(model).__name__}.")
    leaves, structure = jax.tree.flatten(model)
    if jax.tree_util.treedef_is_leaf(structure):
        leaves, structure = jax.tree.flatten(Partial(model))
    if not all(map(_is_number, leaves)):
        path, leaf = next(item for item in tree_leaves_with_path(model) if not _is_number(item[1]))
        raise ValueError(
            f"`model` must have only arrays as leaves, got {type(leaf).__name__} at {keystr(path)}; "
            f"split off the arrays and wrap the rest with `jax.tree_util.Partial`; the README shows this for Equinox."
        )
    return FlatModel(leaves, structure)


def _is_number(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") or isinstance(leaf, (bool, int, float, complex))
