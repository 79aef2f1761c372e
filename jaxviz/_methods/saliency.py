"""Saliency maps (Simonyan et al. 2014): the gradient of a class score with respect to each pixel."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxviz._core.arguments import Labels, as_images, as_labels
from jaxviz._core.model import Model, as_model, class_gradient, largest_magnitude
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def saliency_maps(model: Model, images: ArrayLike, labels: Labels) -> Float[Array, "n h w"]:
    r"""Saliency map of each image for its label.

    .. math:: M_{pq} = \max_c \left| \frac{\partial \tilde y_{label}}{\partial x_{pqc}} \right|

    where ỹ are the model's raw scores. Differentiable in the model's weights and in the images, so a loss may contain a
    map.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a map of NaN.

    Returns:
        (n, h, w), each value >= 0: change of the score per unit of the input space.

    Raises:
        ValueError: an argument of the wrong rank, type or length.
        IndexError: a label that is not a class of the model.

    Reference:
        Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks, arXiv:1312.6034.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: images.sum((1, 2)) * jnp.array([[1.0, -2.0, 3.0]])
        >>> jaxviz.saliency_maps(model, jnp.ones((1, 2, 2, 3)), jnp.array([1]))
        Array([[[2., 2.],
                [2., 2.]]], dtype=float32)
    """
    model = as_model(model)
    images = as_images(images)
    return _saliency_maps(model, images, as_labels(labels, model, images, name="labels")).maps


class Saliency(NamedTuple):
    """Maps, and the class, score and probability from the same evaluation of the model."""

    maps: Float[Array, "n h w"]
    labels: Int[Array, " n"]
    scores: Float[Array, " n"]
    probabilities: Float[Array, " n"]


def saliency_with_scores(model: Model, images: Float[Array, "n h w c"], labels: Int[Array, " n"] | None) -> Saliency:
    """`saliency_maps` with scores and probabilities; without labels, of the predicted classes."""
    return _saliency_maps(as_model(model), images, labels)


@jit_over_examples()
def _saliency_maps(model: Model, images: Float[Array, "n h w c"], labels: Int[Array, " n"] | None) -> Saliency:
    def saliency(image: Float[Array, "h w c"], label: Int[Array, ""] | None) -> Saliency:
        score, scores, gradient = class_gradient(model, image, label)
        label = lax.argmax(scores, 0, jnp.int32) if label is None else label
        probability = jnp.where(jnp.isnan(score), jnp.nan, jax.nn.softmax(scores)[label])
        return Saliency(largest_magnitude(gradient), label, score, probability)

    return map_examples(saliency, images, labels)
