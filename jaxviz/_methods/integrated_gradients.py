"""Integrated gradients (Sundararajan et al. 2017): attributions that add up to the change of the score."""

from typing import SupportsIndex

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxviz._core.arguments import Baseline, Labels, as_baseline, as_images, as_labels, as_size
from jaxviz._core.model import Model, as_model, class_gradient, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def integrated_gradients(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    baseline: Baseline = 0.0,
    num_steps: SupportsIndex = 50,
) -> Float[Array, "n h w c"]:
    r"""Contribution of each value of an image to the label's score, relative to a baseline x'.

    .. math::
        (x - x') \int_0^1 \frac{\partial \tilde y_{label}}{\partial x} (x' + t (x - x')) \, dt
        \approx (x - x') \sum_s w_s \frac{\partial \tilde y_{label}}{\partial x} (x' + t_s (x - x'))

    with the points t_s and weights w_s of the Gauss-Legendre rule, captum's default. The values of an image add up to
    ỹ_label(x) - ỹ_label(x') (completeness), up to the error of the rule: a large difference means that `num_steps` is
    too small. Composes with `jit` and `vmap`. Differentiable in the model's weights and in the images; the derivative
    needs memory for each step.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives an image of NaN.
        baseline: x', the input without content: a number, one for each channel, or (n, h, w, c), one for each image.
            In ImageNet-normalized space 0 is the mean colour and `jaxviz.images.IMAGENET_BOUNDS[0]` is black.
        num_steps: points of the rule, >= 1; a new value compiles again.

    Returns:
        (n, h, w, c), of either sign, in units of the score.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Sundararajan, Taly, Yan, Axiomatic attribution for deep networks, arXiv:1703.01365.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: (images**2).sum((1, 2))
        >>> images = jnp.array([[[[1.0, 2.0]]]])  # one pixel; its two channels are the classes
        >>> jaxviz.integrated_gradients(model, images, jnp.array([1]))
        Array([[[[0., 4.]]]], dtype=float32)
    """
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    num_steps = as_size(num_steps, name="num_steps")
    return _integrated_gradients(model, images, labels, as_baseline(baseline, images), num_steps=num_steps)


@jit_over_examples("num_steps")
def _integrated_gradients(
    model: Model,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    baselines: Float[Array, "n h w c"],
    *,
    num_steps: int,
) -> Float[Array, "n h w c"]:
    dtype = images.dtype
    total_dtype = working_dtype(dtype)
    points, weights = (jnp.asarray(values / 2, total_dtype) for values in np.polynomial.legendre.leggauss(num_steps))
    points = points + 0.5  # from [-1, 1] to [0, 1]

    def attribution(
        image: Float[Array, "h w c"], label: Int[Array, ""], baseline: Float[Array, "h w c"]
    ) -> Float[Array, "h w c"]:
        start = baseline.astype(total_dtype)
        change = image.astype(total_dtype) - start

        def add(total: Float[Array, "h w c"], node: tuple[Array, Array]) -> tuple[Float[Array, "h w c"], None]:
            point, weight = node
            _, _, gradient = class_gradient(model, (start + point * change).astype(dtype), label)
            return total + weight * gradient.astype(total_dtype), None

        total, _ = lax.scan(add, jnp.zeros_like(change), (points, weights))
        return (change * total).astype(dtype)

    return map_examples(attribution, images, labels, baselines)
