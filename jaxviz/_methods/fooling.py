"""Fooling images (Szegedy et al. 2014): gradient ascent until the model predicts another class."""

from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from jaxviz._core.arguments import Bounds, Labels, as_bounds, as_images, as_labels, as_number, as_size
from jaxviz._core.model import Model, as_model, class_gradient, l2_normalize, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_in_lanes

if TYPE_CHECKING:
    import optax


class FoolingResult(NamedTuple):
    """Result of `fooling_images`, one entry for each image.

    Attributes:
        images: (n, h, w, c), the images after the last update.
        steps: (n,) integers, the number of updates applied.
        fooled: (n,), whether the model predicts the target for the returned image (with the given confidence).
        stalled: (n,), whether the gradient became exactly zero before that, so no step is possible.
    """

    images: Float[Array, "n h w c"]
    steps: Int[Array, " n"]
    fooled: Bool[Array, " n"]
    stalled: Bool[Array, " n"]


def fooling_images(
    model: Model,
    images: ArrayLike,
    targets: Labels,
    *,
    step_size: ArrayLike = 0.5,
    max_steps: ArrayLike = 100,
    confidence: ArrayLike | None = None,
    bounds: Bounds | None = None,
    levels: ArrayLike | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    lanes: SupportsIndex | None = None,
) -> FoolingResult:
    r"""Gradient ascent on the target's score from each image, until the model predicts the target.

    .. math:: x \leftarrow x + \eta \frac{g}{\lVert g \rVert_2}, \quad g = \frac{\partial \tilde y_{target}}{\partial x}

    The prediction is tested before each step: an image already predicted as the target is returned unchanged, with 0
    steps. Each image stops independently. Composes with `jit` and `vmap`. A loop of unknown length has no reverse-mode
    gradient.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        targets: (n,) integers in 0 to k - 1, the wanted classes. A traced value out of range gives an image of NaN.
        step_size: η >= 0, the Euclidean length of each step in input space; unused where `optimizer` is given.
        max_steps: maximum number of updates of one image, >= 0.
        confidence: in 0 to 1; also continue until the target's softmax probability is at least this.
        bounds: (lower, upper) valid values, each a number or one for each channel: the start and every step are
            clipped to this range.
        levels: number of equally spaced values from lower to upper, >= 2, in a saved image (256 for 8 bits; needs
            `bounds`). The prediction and the gradient are computed at the rounded image, and the updates add up
            unrounded. The rounded image is returned: its prediction survives saving and loading.
        optimizer: an optax gradient transformation that replaces the rule above. Build it once; a new one compiles
            again. It receives -g, so that its descent is an ascent.
        lanes: number of images in flight, >= 1; the next image takes the place of a finished one. Changes speed and
            memory, not the result; the default depends on the platform. A new value compiles again.

    Returns:
        FoolingResult(images, steps, fooled, stalled).

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a target that is not a class of the model.

    Reference:
        Szegedy et al., Intriguing properties of neural networks, arXiv:1312.6199.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: images.sum((1, 2))  # the class is the brightest channel
        >>> red = jnp.zeros((1, 1, 1, 3)).at[..., 0].set(1.2)
        >>> result = jaxviz.fooling_images(model, red, jnp.array([2]))
        >>> result.images, result.steps, result.fooled
        (Array([[[[1.2, 0. , 1.5]]]], dtype=float32), Array([3], dtype=int32), Array([ True], dtype=bool))
    """
    model = as_model(model)
    images = as_images(images)
    targets = as_labels(targets, model, images, name="targets")
    if levels is not None and bounds is None:
        raise ValueError("`levels` needs `bounds`, the values of the lowest and the highest level.")
    return _fooling_images(
        model,
        images,
        targets,
        step_size=as_number(step_size, float, name="step_size"),
        max_steps=as_number(max_steps, int, name="max_steps"),
        confidence=None if confidence is None else as_number(confidence, float, name="confidence", high=1),
        bounds=as_bounds(bounds, images),
        levels=None if levels is None else as_number(levels, int, name="levels", low=2),
        optimizer=optimizer,
        lanes=None if lanes is None else as_size(lanes, name="lanes"),
    )


class _State(NamedTuple):
    """The state of one image: `x` is unrounded, `done` ends its loop."""

    x: Float[Array, "h w c"]
    optimizer_state: Any
    steps: Int[Array, ""]
    done: Bool[Array, ""]
    fooled: Bool[Array, ""]
    stalled: Bool[Array, ""]


@jit_over_examples("optimizer", "lanes")
def _fooling_images(
    model: Model,
    images: Float[Array, "n h w c"],
    targets: Int[Array, " n"],
    *,
    step_size: Float[Array, ""],
    max_steps: Int[Array, ""],
    confidence: Float[Array, ""] | None,
    bounds: tuple[Float[Array, "1 1 c"], Float[Array, "1 1 c"]] | None,
    levels: Int[Array, ""] | None,
    optimizer: Any,
    lanes: int | None,
) -> FoolingResult:
    dtype = images.dtype

    def clipped(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        return x if bounds is None else jnp.clip(x, *bounds)

    def quantized(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        if bounds is not None and levels is not None:
            lower, upper = bounds
            spacing = (upper - lower) / (levels - 1).astype(upper.dtype)
            x = lower + spacing * jnp.round((x - lower) / spacing)
        return x.astype(dtype)

    def start(image: Float[Array, "h w c"], target: Int[Array, ""]) -> _State:
        x = clipped(image.astype(working_dtype(dtype)))
        # Of zeros like x: inside `jax.shard_map` all then varies over the devices as x does.
        no = jnp.zeros_like(x, shape=(), dtype=bool)
        optimizer_state = None if optimizer is None else optimizer.init(x)
        # It may hold constants, such as a count of steps.
        optimizer_state = jax.tree.map(lambda leaf: jnp.where(no, leaf, leaf), optimizer_state)
        return _State(x, optimizer_state, jnp.zeros_like(x, shape=(), dtype=jnp.int32), no, no, no)

    def advance(state: _State, image: Float[Array, "h w c"], target: Int[Array, ""]) -> _State:
        score, scores, gradient = class_gradient(model, quantized(state.x), target)
        unknown = jnp.isnan(score)
        fooled = (lax.argmax(scores, 0, jnp.int32) == target) & ~unknown
        if confidence is not None:
            fooled &= jax.nn.softmax(scores)[target] >= confidence.astype(scores.dtype)
        stalled = ~fooled & (gradient == 0).all()
        done = fooled | stalled | unknown | (state.steps >= max_steps)
        gradient = gradient.astype(state.x.dtype)
        if optimizer is None:
            update, optimizer_state = step_size.astype(gradient.dtype) * l2_normalize(gradient), None
        else:
            update, optimizer_state = optimizer.update(-gradient, state.optimizer_state, state.x)
        x = jnp.where(done, jnp.where(unknown, jnp.nan, state.x), clipped(state.x + update))
        return _State(x, optimizer_state, jnp.where(done, state.steps, state.steps + 1), done, fooled, stalled)

    def result(state: _State) -> FoolingResult:
        return FoolingResult(quantized(state.x), state.steps, state.fooled, state.stalled)

    return map_in_lanes(start, advance, result, images, targets, lanes=lanes)
