"""Integrated gradients (Sundararajan et al. 2017): shares of the score that add up to the whole."""

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
    r"""How much each value of an image adds to the label's score, compared with a baseline x'.

    .. math::
        (x - x') \int_0^1 \frac{\partial \tilde y_{label}}{\partial x} (x' + t (x - x')) \, dt
        \approx (x - x') \sum_s w_s \frac{\partial \tilde y_{label}}{\partial x} (x' + t_s (x - x'))

    with the points t_s and weights w_s of the Gauss-Legendre rule, as captum does by default. The values of an image
    add up to ỹ_label(x) - ỹ_label(x'), as far as the rule is exact (completeness): what is missing tells whether
    `num_steps` will do. Composes under `jit` and `vmap`; differentiable in the model's weights and in the images, with
    memory for each step.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`; a plain function will do.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced one out of range gives an image of NaN.
        baseline: x', the input that stands for nothing: a number, one for each channel, or (n, h, w, c), one for each
            image. In ImageNet-normalized space 0 is the mean colour, and `jaxviz.images.IMAGENET_BOUNDS[0]` black.
        num_steps: points of the rule, >= 1; a new value compiles again.

    Returns:
        (n, h, w, c), of either sign, in units of the score.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is no class of the model.

    Reference:
        Sundararajan, Taly, Yan, Axiomatic attribution for deep networks, arXiv:1703.01365.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: (images**2).sum((1, 2))
        >>> images = jnp.array([[[[1.0, 2.0]]]])  # a pixel of two channels, which are the classes
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
    points = points + 0.5  # from -1 to 1, to 0 to 1

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
