"""Deletion and insertion curves (Petsiuk et al. 2018): does the class depend on a map's most salient pixels?"""

import warnings
from typing import NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Shaped

from jaxviz._core.arguments import Baseline, Labels, as_array, as_baseline, as_images, as_labels, as_size, on_device
from jaxviz._core.model import Model, as_model, class_score
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


class PerturbationCurve(NamedTuple):
    """Result of `deletion_curve` and `insertion_curve`, one entry for each image.

    Attributes:
        fractions: (n, num_steps + 1), the fraction of pixels replaced, from 0 to 1.
        probabilities: (n, num_steps + 1), the label's softmax probability at each fraction.
        auc: (n,), in 0 to 1: the area under the curve of probabilities over fractions, by the trapezoidal rule.
    """

    fractions: Float[Array, "n t"]
    probabilities: Float[Array, "n t"]
    auc: Float[Array, " n"]

    @property
    def areas(self) -> Float[Array, " n"]:
        """Deprecated: the old name of `auc`."""
        message = "`areas` is now `auc`; the old name will be removed in version 0.2."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return self.auc


def deletion_curve(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    maps: ArrayLike,
    *,
    num_steps: SupportsIndex = 50,
    baseline: Baseline = 0.0,
) -> PerturbationCurve:
    r"""The label's probability while the most salient pixels are replaced by a baseline.

    After step s, the floor(s h w / `num_steps`) pixels with the largest values in the map are replaced, in all
    channels; equal values in row-major order. A small area under the curve is better: the class depends on the salient
    pixels.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a curve of NaN.
        maps: (n, h, w) numbers, the importance of each pixel: saliency maps, or any other ranking to compare with. A
            map with a NaN gives a curve of NaN.
        num_steps: >= 1; the paper's code uses 224 for 224 x 224 pixels. A new value compiles again.
        baseline: a number, one for each channel, or (n, h, w, c), one for each image. In ImageNet-normalized space 0 is
            the mean colour, the paper's baseline.

    Returns:
        PerturbationCurve(fractions, probabilities, auc).

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Petsiuk, Das, Saenko, RISE: randomized input sampling for explanation of black-box models, arXiv:1806.07421.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: 10 * images.sum((1, 2))
        >>> images = jnp.zeros((1, 2, 2, 3)).at[0, 1, 1, 2].set(1.0)  # one pixel is blue
        >>> maps = jaxviz.integrated_gradients(model, images, jnp.array([2])).sum(-1)
        >>> curve = jaxviz.deletion_curve(model, images, jnp.array([2]), maps, num_steps=4)
        >>> [round(float(p), 2) for p in curve.probabilities[0]]
        [1.0, 0.33, 0.33, 0.33, 0.33]
    """
    return _curve(model, images, labels, maps, num_steps=num_steps, baseline=baseline, insertion=False)


def insertion_curve(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    maps: ArrayLike,
    *,
    baseline: Baseline,
    num_steps: SupportsIndex = 50,
) -> PerturbationCurve:
    r"""The label's probability while the most salient pixels are inserted into a baseline.

    The inverse of `deletion_curve`: after step s, the floor(s h w / `num_steps`) pixels with the largest values in the
    map come from the image, the others from the baseline. A large area under the curve is better: the salient pixels
    suffice for the class.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a curve of NaN.
        maps: (n, h, w) numbers, the importance of each pixel: saliency maps, or any other ranking to compare with. A
            map with a NaN gives a curve of NaN.
        baseline: a number, one for each channel, or (n, h, w, c), one for each image. The paper blurs the images until
            the class is lost, since sharp edges of pixels on a uniform colour mislead a model:
            `jax.vmap(lambda image: jaxviz.images.blur(image, 5.0))(images)`.
        num_steps: >= 1; the paper's code uses 224 for 224 x 224 pixels. A new value compiles again.

    Returns:
        PerturbationCurve(fractions, probabilities, auc).

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Petsiuk, Das, Saenko, RISE: randomized input sampling for explanation of black-box models, arXiv:1806.07421.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: 10 * images.sum((1, 2))
        >>> images = jnp.zeros((1, 2, 2, 3)).at[0, 1, 1, 2].set(1.0)  # one pixel is blue
        >>> maps = jaxviz.integrated_gradients(model, images, jnp.array([2])).sum(-1)
        >>> curve = jaxviz.insertion_curve(model, images, jnp.array([2]), maps, baseline=0, num_steps=4)
        >>> [round(float(p), 2) for p in curve.probabilities[0]]
        [0.33, 1.0, 1.0, 1.0, 1.0]
    """
    return _curve(model, images, labels, maps, num_steps=num_steps, baseline=baseline, insertion=True)


def _curve(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    maps: ArrayLike,
    *,
    num_steps: SupportsIndex,
    baseline: Baseline,
    insertion: bool,
) -> PerturbationCurve:
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    importance = as_array(maps)
    if importance.shape != images.shape[:3] or not jnp.issubdtype(importance.dtype, jnp.number):
        raise ValueError(
            f"`maps` must be numbers of shape {images.shape[:3]}, one for each pixel, got {importance.dtype} "
            f"{importance.shape}."
        )
    baselines = as_baseline(baseline, images)
    start, end = (baselines, images) if insertion else (images, baselines)
    num_steps = as_size(num_steps, name="num_steps")
    return _perturbation_curve(model, start, end, labels, on_device(importance, importance.dtype), num_steps=num_steps)


@jit_over_examples("num_steps")
def _perturbation_curve(
    model: Model,
    start: Float[Array, "n h w c"],
    end: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    maps: Shaped[Array, "n h w"],
    *,
    num_steps: int,
) -> PerturbationCurve:
    pixels = maps.shape[1] * maps.shape[2]
    counts = np.arange(num_steps + 1) * pixels // num_steps

    def measure(
        start: Float[Array, "h w c"], end: Float[Array, "h w c"], label: Int[Array, ""], scores: Shaped[Array, "h w"]
    ) -> PerturbationCurve:
        order = jnp.argsort(scores.ravel(), stable=True, descending=True)
        ranks = jnp.zeros(pixels, jnp.int32).at[order].set(jnp.arange(pixels, dtype=jnp.int32)).reshape(scores.shape)

        def probability(count: Int[Array, ""]) -> Float[Array, ""]:
            x = jnp.where((ranks < count)[..., None], end, start)
            score, scores = class_score(model, x, label)
            return jnp.where(jnp.isnan(score), jnp.nan, jax.nn.softmax(scores)[label])

        probabilities = lax.map(probability, jnp.asarray(counts, jnp.int32))
        probabilities = jnp.where(jnp.isnan(scores).any(), jnp.nan, probabilities)
        fractions = jnp.asarray(counts / pixels, probabilities.dtype)
        return PerturbationCurve(fractions, probabilities, jnp.trapezoid(probabilities, fractions))

    return map_examples(measure, start, end, labels, maps)
