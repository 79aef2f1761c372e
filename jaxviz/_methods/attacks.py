"""Adversarial attacks in a ball (Goodfellow et al. 2014, Madry et al. 2017): a large loss at a bounded distance."""

from typing import Literal, SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._core.arguments import Bounds, Labels, as_bounds, as_images, as_keys, as_labels, as_number, as_size
from jaxviz._core.model import Model, as_model, class_gradient, class_loss, l2_norm, l2_normalize, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def fgsm(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    epsilon: ArrayLike,
    targeted: bool = False,
    bounds: Bounds | None = None,
) -> Float[Array, "n h w c"]:
    r"""The fast gradient sign method: one step of size ε in every pixel, away from the label.

    .. math:: x + \varepsilon \, \mathrm{sign} \, \nabla_x J(x), \quad J = -\log \mathrm{softmax}(\tilde y)_{label}

    This is `pgd` with one step of size ε from the image. Pixels with a zero gradient do not change. Composes with `jit`
    and `vmap`. The derivative of a sign is zero, so `fgsm` has no gradient in the images.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1: the current classes or, with `targeted`, the wanted ones. A traced
            value out of range gives an image of NaN.
        epsilon: ε >= 0, the change of each value in input space; a number, or (n,), one for each image.
        targeted: step towards the label, x - ε sign ∇J. A new value compiles again.
        bounds: (lower, upper) valid values, each a number or one for each channel: the image and the result are
            clipped to this range.

    Returns:
        (n, h, w, c).

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Goodfellow, Shlens, Szegedy, Explaining and harnessing adversarial examples, arXiv:1412.6572.

    Example:
        For ε and bounds in pixels of 0 to 1, pass a model that takes such pixels. Build it once; for the models of
        `load_model`, use the mean and standard deviation in `jaxviz.images`:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = jax.tree_util.Partial(lambda images: images.mean((1, 2)))  # any model; here, the brightest channel
        >>> model = jax.tree_util.Partial(lambda model, pixels: model((pixels - 0.5) / 0.25), model)
        >>> grey = jnp.full((1, 1, 1, 3), 0.5)
        >>> (jaxviz.fgsm(model, grey, jnp.array([0]), epsilon=8 / 255, bounds=(0, 1)) * 255).round(1)
        Array([[[[119.5, 135.5, 135.5]]]], dtype=float32)
    """
    return pgd(model, images, labels, epsilon=epsilon, step_size=epsilon, num_steps=1, targeted=targeted, bounds=bounds)


def pgd(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    epsilon: ArrayLike,
    norm: Literal["linf", "l2"] = "linf",
    step_size: ArrayLike | None = None,
    num_steps: SupportsIndex = 10,
    key: Array | None = None,
    targeted: bool = False,
    bounds: Bounds | None = None,
) -> Float[Array, "n h w c"]:
    r"""Projected gradient descent: gradient ascent on the label's loss in a ball around each image.

    .. math::
        x \leftarrow \Pi \left( x + \eta \, d(\nabla_x J(x)) \right), \quad
        J = -\log \mathrm{softmax}(\tilde y)_{label}

    where d is the sign (norm "linf") or the gradient divided by its Euclidean norm ("l2"). Π projects to the ball of
    that norm and radius ε around the image, then clips to `bounds`. With a zero gradient the image does not change. The
    gradient is accurate even if the label's probability rounds to 1. Every image takes every step; `fooling_images`
    stops as soon as the model predicts the target. Composes with `jit` and `vmap`.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1: the current classes or, with `targeted`, the wanted ones. A traced
            value out of range gives an image of NaN.
        epsilon: ε >= 0, the radius in input space; a number, or (n,), one for each image.
        norm: "linf", the largest change of a value, or "l2", the Euclidean norm of the perturbation of an image. A
            new value compiles again.
        step_size: η >= 0, in input space; a number, or (n,), one for each image. The default, 2.5 ε / `num_steps`,
            reaches the edge of the ball from any point in it.
        num_steps: >= 1; a new value compiles again.
        key: for a random start, uniform in the ball, instead of the image: a typed key, `jax.random.key(seed)`, of
            which example i uses `jax.random.fold_in(key, i)`, or (n,) keys, one for each example.
        targeted: descend the loss, towards the label. A new value compiles again.
        bounds: (lower, upper) valid values, each a number or one for each channel: the start and every step are
            clipped to this range.

    Returns:
        (n, h, w, c), at most ε from the images where these are within `bounds`.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Madry et al., Towards deep learning models resistant to adversarial attacks, arXiv:1706.06083.

    Example:
        See `fgsm` for ε in pixels of 0 to 1.

        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: images.sum((1, 2))  # the class is the brightest channel
        >>> images = jnp.zeros((2, 1, 1, 3))
        >>> radii = jnp.array([0.0, 1.0])  # one radius for each image, in one call
        >>> changed = jaxviz.pgd(model, images, jnp.array([0, 0]), epsilon=radii, norm="l2", targeted=True)
        >>> jnp.linalg.norm(changed, axis=-1).round(4).ravel()
        Array([0., 1.], dtype=float32)
    """
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    if norm not in ("linf", "l2"):
        raise ValueError(f'`norm` must be "linf" or "l2", got {norm!r}.')
    if not isinstance(targeted, bool):
        raise ValueError(f"`targeted` must be True or False, got {targeted!r}.")
    count = images.shape[0]
    radii = as_number(epsilon, float, name="epsilon", count=count)
    lengths = None if step_size is None else as_number(step_size, float, name="step_size", count=count)
    return _pgd(
        model,
        images,
        labels,
        jnp.broadcast_to(radii, (count,)),
        None if lengths is None else jnp.broadcast_to(lengths, (count,)),
        None if key is None else as_keys(key, count),
        norm=norm,
        num_steps=as_size(num_steps, name="num_steps"),
        targeted=targeted,
        bounds=as_bounds(bounds, images),
    )


@jit_over_examples("norm", "num_steps", "targeted")
def _pgd(
    model: Model,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    radii: Float[Array, " n"],
    lengths: Float[Array, " n"] | None,
    keys: Key[Array, " n"] | None,
    *,
    norm: str,
    num_steps: int,
    targeted: bool,
    bounds: tuple[Float[Array, "1 1 c"], Float[Array, "1 1 c"]] | None,
) -> Float[Array, "n h w c"]:
    dtype = images.dtype

    def attack(
        image: Float[Array, "h w c"],
        label: Int[Array, ""],
        radius: Float[Array, ""],
        length: Float[Array, ""] | None,
        key: Key[Array, ""] | None,
    ) -> Float[Array, "h w c"]:
        image = image.astype(working_dtype(dtype))
        radius = radius.astype(image.dtype)
        length = 2.5 * radius / num_steps if length is None else length.astype(image.dtype)

        def project(x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            if norm == "linf":
                x = jnp.clip(x, image - radius, image + radius)
            else:
                change = x - image
                distance = l2_norm(change)
                outside = distance > radius
                x = image + change * jnp.where(outside, radius / jnp.where(outside, distance, 1), 1)
            return x if bounds is None else jnp.clip(x, *bounds)

        def step(_: Int[Array, ""], x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            _, _, gradient = class_gradient(model, x.astype(dtype), label, objective=class_loss)
            gradient = gradient.astype(x.dtype)
            direction = jnp.sign(gradient) if norm == "linf" else l2_normalize(gradient)
            return project(x + length * (-direction if targeted else direction))

        start = image if key is None else image + radius * _in_unit_ball(key, image, norm)
        return lax.fori_loop(0, num_steps, step, project(start)).astype(dtype)

    return map_examples(attack, images, labels, radii, lengths, keys)


def _in_unit_ball(key: Key[Array, ""], image: Float[Array, "h w c"], norm: str) -> Float[Array, "h w c"]:
    """A random point, uniform in the ball."""
    if norm == "linf":
        return jax.random.uniform(key, image.shape, image.dtype, -1, 1)
    direction_key, distance_key = jax.random.split(key)
    direction = l2_normalize(jax.random.normal(direction_key, image.shape, image.dtype))
    return direction * jax.random.uniform(distance_key, (), image.dtype) ** (1 / image.size)
