"""Class visualization (Simonyan et al. 2014, Yosinski et al. 2015): an image with a high class score."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._core.arguments import Bounds, Labels, as_bounds, as_images, as_keys, as_labels, as_number, as_size
from jaxviz._core.model import Model, as_model, class_gradient, class_score, l2_norm, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._methods.parametrizations import Parametrization
from jaxviz._rewrite.batching import map_examples
from jaxviz.images import blur, shift

if TYPE_CHECKING:
    import optax


class ClassVisualization(NamedTuple):
    """Result of `class_visualizations`, one entry for each target.

    Attributes:
        images: (n, h, w, c), the images after the last step.
        scores: (n, num_steps), the target's raw score at each step, before its update.
        snapshots: (n, num_steps // snapshot_every, h, w, c), the images after every
            `snapshot_every` steps, or None.
    """

    images: Float[Array, "n h w c"]
    scores: Float[Array, "n t"]
    snapshots: Float[Array, "n s h w c"] | None


def class_visualizations(
    model: Model,
    targets: Labels,
    *,
    key: Array,
    init_images: ArrayLike | None = None,
    image_shape: Sequence[SupportsIndex] = (224, 224, 3),
    num_steps: SupportsIndex = 200,
    step_size: ArrayLike = 5.0,
    l2_weight: ArrayLike = 1e-3,
    max_jitter: ArrayLike = 16,
    blur_every: ArrayLike = 10,
    blur_sigma: ArrayLike = 0.5,
    bounds: Bounds | None = None,
    optimizer: "optax.GradientTransformation | None" = None,
    parametrization: Parametrization | None = None,
    transform: Callable[[Array, Float[Array, "h w c"]], Float[Array, "..."]] | None = None,
    snapshot_every: SupportsIndex | None = None,
) -> ClassVisualization:
    r"""Regularized gradient ascent on a class score, from noise or from a given image.

    .. math:: x \leftarrow x + \eta \nabla_x \left( \tilde y_{target}(x) - \lambda \lVert x \rVert_2 \right)

    Each step t = 0, 1, ...: translate x by a random offset of 0 to `max_jitter` pixels on each axis, step, translate
    back, clip to `bounds`, and blur where t is a multiple of `blur_every`. The penalty's gradient at x = 0 is 0.

    With a `parametrization`, x is decoded from parameters and the step is in the parameters, without clipping and blur.
    With a `transform`, the score is that of `transform(key, x)`, with a new key in each step, and without jitter.

    To visualize a unit, a channel or a direction of a layer instead of a class, pass a model whose scores are its
    activations: with `features, head = jaxviz.split(model, images, "fire9")`,
    `lambda images: features(images).mean((1, 2))` is a model whose classes are channels.

    Each of `step_size` to `blur_sigma` is one number for all targets, or (n,), one for each. To compute a grid of
    settings as one batch and one compiled program, repeat the target.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        targets: (n,) integers in 0 to k - 1. A traced value out of range gives an image and scores of NaN.
        key: a typed key, `jax.random.key(seed)`; example i uses `jax.random.fold_in(key, i)`. Or (n,) keys,
            one for each example: for parts of a larger batch, or to start several from the same noise.
        init_images: (n, h, w, c), the initial images; by default, standard normal noise of `image_shape`.
        image_shape: (h, w, c); a new value compiles again.
        num_steps: >= 1; a new value compiles again.
        step_size: η >= 0; unused where `optimizer` is given.
        l2_weight: λ >= 0, the weight of the unsquared Euclidean norm.
        max_jitter: largest translation on each axis, in pixels, >= 0.
        blur_every: number of steps between blurs, >= 1.
        blur_sigma: standard deviation of the Gaussian blur, in pixels, 0 (no blur) to half the shorter side.
        bounds: (lower, upper) valid values, each a number or one for each channel. By default, no clipping.
        optimizer: an optax gradient transformation that replaces the step above. Build it once; a new one compiles
            again. It receives the negative gradient, so that its descent is an ascent.
        parametrization: what the step changes, in place of pixels: `jaxviz.fourier()`, `jaxviz.maco()`, or your own
            `jaxviz.Parametrization`. Not with `init_images` and `bounds`.
        transform: (key, image (h, w, c)) -> image, such as a random scaling or crop that the class must survive; a new
            function compiles again.
        snapshot_every: number of steps between snapshots, 1 to `num_steps`; a new value compiles again.

    Returns:
        ClassVisualization(images, scores, snapshots).

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a target that is not a class of the model.

    Reference:
        Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks, arXiv:1312.6034; Yosinski et al.,
        Understanding neural networks through deep visualization, arXiv:1506.06579 (jitter, blur and clipping).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: images.mean((1, 2))  # class 0 is red
        >>> result = jaxviz.class_visualizations(
        ...     model, jnp.array([0]), key=jax.random.key(0), image_shape=(8, 8, 3), bounds=(-1, 1)
        ... )
        >>> result.scores[0, 0] < result.scores[0, -1]
        Array(True, dtype=bool)
    """
    model = as_model(model)
    if parametrization is not None and (init_images is not None or bounds is not None):
        raise ValueError("`parametrization` makes its own initial images and bounds; omit `init_images` and `bounds`.")
    if init_images is not None:
        init_images = images = as_images(init_images, name="init_images")
    else:
        try:
            shape = [as_size(size, name="image_shape") for size in image_shape]
        except ValueError:
            shape = []
        if len(shape) != 3:
            raise ValueError(f"`image_shape` must be (h, w, c), three sizes of 1 or more, got {image_shape}.")
        images = jax.ShapeDtypeStruct((*np.shape(targets)[:1], *shape), jnp.float32)
    targets = as_labels(targets, model, images, name="targets")
    num_steps = as_size(num_steps, name="num_steps")
    if snapshot_every is not None:
        snapshot_every = as_size(snapshot_every, name="snapshot_every", high=num_steps)
    count, side = targets.shape[0], min(images.shape[1:3])
    numbers = {
        "step_size": as_number(step_size, float, name="step_size", count=count),
        "l2_weight": as_number(l2_weight, float, name="l2_weight", count=count),
        "max_jitter": as_number(max_jitter, int, name="max_jitter", count=count),
        "blur_every": as_number(blur_every, int, name="blur_every", low=1, count=count),
        "blur_sigma": as_number(blur_sigma, float, name="blur_sigma", high=side / 2, count=count),
    }
    return _class_visualizations(
        model,
        targets,
        as_keys(key, count),
        init_images,
        {name: number for name, number in numbers.items() if number.ndim},
        shared={name: number for name, number in numbers.items() if not number.ndim},
        bounds=as_bounds(bounds, images),
        parametrization=None if parametrization is None else Parametrization(*map(_as_pytree, parametrization)),
        transform=None if transform is None else _as_pytree(transform),
        image_shape=images.shape[1:],
        num_steps=num_steps,
        optimizer=optimizer,
        snapshot_every=snapshot_every,
    )


def _as_pytree(function: Callable[..., Any]) -> Partial:
    if not callable(function):
        raise ValueError(f"`parametrization` and `transform` must be functions, got {function!r}.")
    return function if isinstance(function, Partial) else Partial(function)


@jit_over_examples("image_shape", "num_steps", "optimizer", "snapshot_every")
def _class_visualizations(
    model: Model,
    targets: Int[Array, " n"],
    keys: Key[Array, " n"],
    init_images: Float[Array, "n h w c"] | None,
    own: dict[str, Array],
    *,
    shared: dict[str, Array],
    bounds: tuple[Float[Array, "1 1 c"], Float[Array, "1 1 c"]] | None,
    parametrization: Parametrization | None,
    transform: Callable[..., Array] | None,
    image_shape: tuple[int, int, int],
    num_steps: int,
    optimizer: Any,
    snapshot_every: int | None,
) -> ClassVisualization:
    dtype = jnp.float32 if init_images is None else init_images.dtype

    def decode(parameters: Any) -> Float[Array, "h w c"]:
        return parameters if parametrization is None else parametrization.decode(parameters)

    def visualize(
        parameters: Any, target: Int[Array, ""], key: Key[Array, ""], own: dict[str, Array]
    ) -> ClassVisualization:
        # Shared numbers stay scalars: under `vmap`, `lax.cond` on one number per example would blur in every step.
        numbers = shared | own
        if parametrization is None:
            parameters = parameters.astype(working_dtype(dtype))

        def jittered(key: Key[Array, ""], x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            return shift(x, jax.random.randint(key, (2,), 0, numbers["max_jitter"] + 1, jnp.int32))

        def step(
            t: Int[Array, ""], carry: tuple[Any, Any, Array, Array | None]
        ) -> tuple[Any, Any, Array, Array | None]:
            parameters, optimizer_state, scores, snapshots = carry

            def objective(model: Model, parameters: Any, target: Int[Array, ""]) -> tuple[Array, Array]:
                x = decode(parameters)
                seen = (jittered if transform is None else transform)(jax.random.fold_in(key, t), x)
                score, _ = class_score(model, seen.astype(dtype), target)
                dtype_of_sum = np.promote_types(score.dtype, x.dtype)
                penalty = numbers["l2_weight"].astype(x.dtype) * l2_norm(x)
                return score.astype(dtype_of_sum) - penalty.astype(dtype_of_sum), score

            _, score, gradient = class_gradient(model, parameters, target, objective=objective)
            if optimizer is None:
                updates = jax.tree.map(lambda g: numbers["step_size"].astype(g.dtype) * g, gradient)
            else:
                descent = jax.tree.map(jnp.negative, gradient)
                updates, optimizer_state = optimizer.update(descent, optimizer_state, parameters)
            parameters = jax.tree.map(jnp.add, parameters, updates)
            if parametrization is None:
                if bounds is not None:
                    parameters = jnp.clip(parameters, *bounds)
                blurs = t % numbers["blur_every"] == 0
                parameters = lax.cond(blurs, lambda x: blur(x, numbers["blur_sigma"]), lambda x: x, parameters)
            if snapshots is not None and snapshot_every is not None:
                row = jnp.where((t + 1) % snapshot_every == 0, t // snapshot_every, len(snapshots))
                snapshots = snapshots.at[row].set(decode(parameters).astype(dtype), mode="drop")
            return parameters, optimizer_state, scores.at[t].set(score), snapshots

        x = decode(parameters)
        if x.shape != tuple(image_shape):
            raise ValueError(f"`parametrization` must decode to an image of shape {image_shape}, got {x.shape}.")
        score_dtype = jax.eval_shape(class_score, model, x.astype(dtype), target)[0].dtype
        # Zeros like x: inside `jax.shard_map` they vary over the devices as x does.
        scores = jnp.zeros_like(x, shape=num_steps, dtype=score_dtype)
        snapshots = None
        if snapshot_every is not None:
            snapshots = jnp.zeros_like(x, shape=(num_steps // snapshot_every, *x.shape), dtype=dtype)
        carry = (parameters, None if optimizer is None else optimizer.init(parameters), scores, snapshots)
        parameters, _, scores, snapshots = lax.fori_loop(0, num_steps, step, carry)
        return ClassVisualization(decode(parameters).astype(dtype), scores, snapshots)

    noise_keys, jitter_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    start = init_images
    if parametrization is not None:
        start = jax.vmap(lambda key: parametrization.init(key, image_shape))(noise_keys)
    elif init_images is None:
        start = jax.vmap(lambda key: jax.random.normal(key, image_shape, dtype))(noise_keys)
    return map_examples(visualize, start, targets, jitter_keys, own)
