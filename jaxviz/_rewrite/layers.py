"""The values inside of any JAX model: their names, their values, and the model cut in two at one of them."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxviz._core.arguments import as_array, on_device
from jaxviz._core.model import FlatModel, Model, as_model
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples
from jaxviz._rewrite.programs import Program, trace


class Layer(NamedTuple):
    """A named value of a model.

    Attributes:
        name: the path of the submodule that returns it, or its tag.
        shape: for a batch of the given size.
        dtype: of its elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any


def layers(model: Model, images: ArrayLike | jax.ShapeDtypeStruct) -> list[Layer]:
    """The named values of a model, in the order of computation.

    Named are the outputs of submodules, by their path from the model ("fires/7/squeeze"), and values that the model
    tags by `jax.ad_checkpoint.checkpoint_name`. A name that occurs again is numbered ("norm", "norm:2"). In a loop over
    layers (`jax.lax.scan`, `flax.nnx.scan`) each iteration has its own value ("blocks[0]", "blocks[1]").

    Submodules are found in Flax NNX and Linen, in Haiku, in Equinox, and in any pytree that can be called. A plain
    function has only tags. A compiled function that is called for several modules of the same shapes is traced once, so
    it has the first module's path, numbered. Modules that a transformation such as rematerialization builds again are
    named in the order of their paths. Values inside of `jax.lax.while_loop` and `jax.lax.cond` are not listed.
    The model is traced, not computed.

    Args:
        model: a callable pytree, `model(images (n, ...)) -> scores`, or a plain function.
        images: (n, ...), floating point, or a `jax.ShapeDtypeStruct`.

    Returns:
        A list of Layer(name, shape, dtype).

    Raises:
        ValueError: images that are not floating point, or a model in training mode.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> from flax import nnx
        >>> class Classifier(nnx.Module):
        ...     def __init__(self, rngs):
        ...         self.conv = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        ...         self.linear = nnx.Linear(8, 10, rngs=rngs)
        ...     def __call__(self, images):
        ...         return self.linear(nnx.relu(self.conv(images)).mean((1, 2)))
        >>> for layer in jaxviz.layers(Classifier(nnx.Rngs(0)), jnp.ones((1, 32, 32, 3))):
        ...     print(layer.name, layer.shape)
        conv (1, 32, 32, 8)
        linear (1, 10)
    """
    program = trace(as_model(model), _as_batch(images))
    return [Layer(name, variable.aval.shape, variable.aval.dtype) for name, variable in program.named.items()]


def capture(model: Model, images: ArrayLike, names: Sequence[str]) -> dict[str, Array]:
    """The named values of a model for these images, from one evaluation.

    Composes with `jit`, `vmap` and `grad`. The derivative of a value inside of a function with its own derivative
    (`jax.custom_jvp`) is that of the operations in it.

    Args:
        model: a callable pytree, `model(images (n, ...)) -> scores`, or a plain function.
        images: (n, ...), floating point.
        names: names as in `layers`. The name of values in a loop without the iteration ("blocks") gives all of them,
            stacked along a new first axis.

    Returns:
        The values by name, each (n, ...).

    Raises:
        ValueError: an unknown name.

    Example:
        >>> import jaxviz
        >>> model = jaxviz.load_model("squeezenet1_1")
        >>> values = jaxviz.capture(model, jnp.zeros((1, 224, 224, 3)), ["pool1", "fire9"])
        >>> values["fire9"].shape
        (1, 13, 13, 512)
    """
    if isinstance(names, str):
        raise ValueError(f"`names` must be a list of names, got {names!r}; write `[{names!r}]`.")
    return _capture(as_model(model), on_device(batch := _as_batch(images), batch.dtype), tuple(names))


@partial(jax.jit, static_argnums=2)
def _capture(model: FlatModel, images: Array, names: tuple[str, ...]) -> dict[str, Array]:
    program = trace(model, images, names)
    iterations = {name: _iterations(program, name) for name in names}
    for name in names:
        if not iterations[name]:
            raise _unknown(model, images, name)
    wanted = list(dict.fromkeys(iteration for several in iterations.values() for iteration in several))
    values = dict(zip(wanted, program.run(model, images, [program.named[name] for name in wanted], {}), strict=True))
    return {
        name: values[name] if several == [name] else jnp.stack([values[iteration] for iteration in several])
        for name, several in iterations.items()
    }


def split(model: Model, images: ArrayLike | jax.ShapeDtypeStruct, name: str) -> "tuple[Features, Head]":
    """The model, cut in two at a named value: `head(features(images))` equals `model(images)`.

    Both are models: callable pytrees with the weights as leaves. They take any batch size, compile once for each shape,
    and go into `jit`, `vmap`, `grad`, `data_parallel`, `jax.export` and every method of jaxviz. The images of a head
    are activations. To study a unit, make a model of the features: `lambda images: features(images).mean((1, 2))` is a
    model whose classes are channels.

    Loops over layers and rematerializations that contain the name are inlined.

    Args:
        model: a callable pytree, `model(images (n, ...)) -> scores`, or a plain function.
        images: (n, ...), floating point, or a `jax.ShapeDtypeStruct`. Its shape without n is the head's.
        name: a name as in `layers`.

    Returns:
        (features, head): `features(images) -> activations`, `head(activations) -> scores`.

    Raises:
        ValueError: an unknown name, or a value that does not separate the model: the scores depend on the images past
            it, as in a residual connection. The error names the value that goes around.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model, images = jaxviz.load_model("squeezenet1_1"), jnp.zeros((2, 224, 224, 3))
        >>> features, head = jaxviz.split(model, images, "fire9")
        >>> head(features(images)).shape
        (2, 1000)
    """
    flat, batch = as_model(model), _as_batch(images)
    program = trace(flat, batch)
    iterations = _iterations(program, name)
    if not iterations:
        raise _unknown(flat, batch, name)
    if iterations != [name]:
        raise ValueError(
            f"`name` {name!r} has {len(iterations)} values, one for each iteration; choose one of them, such as "
            f"{iterations[-1]!r}."
        )
    variable = program.cut(name)
    if variable.aval.shape[:1] != batch.shape[:1]:
        raise ValueError(
            f"`name` {name!r} has shape {variable.aval.shape} for {batch.shape[0]} images; its first axis must be the "
            f"batch."
        )
    return Features(flat, name), Head(flat, name, batch.shape[1:], jnp.dtype(batch.dtype))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Features:
    """The first part of a model, `features(images) -> activations`."""

    model: FlatModel
    name: str = field(metadata={"static": True})

    def __call__(self, images: ArrayLike) -> Array:
        """The activations."""
        if isinstance(images, Tracer):
            return _features(self, images)
        return _mapped_features(self, on_device(batch := _as_batch(images), batch.dtype))


@jit_over_examples()
def _mapped_features(features: Features, images: Array) -> Array:
    """The activations of a batch, evaluated as the methods do it."""
    return map_examples(lambda image: _features(features, image[None])[0], images)


@partial(jax.jit, inline=True)
def _features(features: Features, images: Array) -> Array:
    program = trace(features.model, images, [features.name])
    [activations] = program.run(features.model, images, [program.named[features.name]], {})
    return activations


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Head:
    """The second part of a model, `head(activations) -> scores`."""

    model: FlatModel
    name: str = field(metadata={"static": True})
    image_shape: tuple[int, ...] = field(metadata={"static": True})
    image_dtype: Any = field(metadata={"static": True})

    def __call__(self, activations: ArrayLike) -> Any:
        """The scores."""
        return _head(self, activations)


@partial(jax.jit, inline=True)
def _head(head: Head, activations: Array) -> Any:
    # Zeros like the activations: inside `jax.shard_map` they vary over the same devices
    images = jnp.zeros_like(activations, shape=(*activations.shape[:1], *head.image_shape), dtype=head.image_dtype)
    program = trace(head.model, images, [head.name])
    variable = program.named[head.name]
    if (activations.shape, activations.dtype) != (variable.aval.shape, variable.aval.dtype):
        raise ValueError(
            f"`activations` of {head.name!r} must be {variable.aval.dtype} of shape (n, "
            f"{', '.join(map(str, variable.aval.shape[1:]))}), got {activations.dtype} {activations.shape}."
        )
    outputs = program.run(head.model, None, program.closed.jaxpr.outvars, {variable: activations})
    return jax.tree.unflatten(program.result, outputs)


def _iterations(program: Program, name: str) -> list[str]:
    """The names of a value in the iterations of a loop; the name alone outside of loops."""
    if name in program.named:
        return [name]
    return [other for other in program.named if other.startswith(f"{name}[")]


def _unknown(model: FlatModel, images: Any, name: str) -> ValueError:
    """The error for an unknown name, with the names that are most like it."""
    program = trace(model, images)
    if not program.named:
        return ValueError(
            f"`name` {name!r} is unknown: the model has no named values. Pass the module itself, not a function that "
            f"calls it, or tag a value inside: `jax.ad_checkpoint.checkpoint_name(x, {name!r})`."
        )
    if name in program.hidden:
        return ValueError(
            f"`name` {name!r} lies in a `while_loop` of an unknown number of iterations, or in a branch of `cond`."
        )
    near = difflib.get_close_matches(name, program.named, n=5, cutoff=0.5) or list(program.named)[:5]
    return ValueError(
        f"`name` {name!r} is unknown; near it are {', '.join(map(repr, near))}. `jaxviz.layers` lists all."
    )


def _as_batch(images: Any) -> Any:
    array = images if isinstance(images, jax.ShapeDtypeStruct) else as_array(images)
    if not array.ndim or 0 in array.shape or not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(
            f"`images` must be floating point of shape (n, ...), none of them 0, got {array.dtype} {array.shape}."
        )
    return array
