"""How far a score follows its own gradient."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxviz._core.arguments import Labels, as_images, as_labels
from jaxviz._core.model import Model, as_model, class_gradient, class_score, l2_normalize
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


class Tangent(NamedTuple):
    """Scores at distances t along the gradient, one entry for each image.

    Attributes:
        scores: (n, t), what the model gives there.
        slopes: (n,), the gradient's norm: the tangent is scores at 0 + t * slope.
    """

    scores: Float[Array, "n t"]
    slopes: Float[Array, " n"]


def along_gradient(model: Model, images: ArrayLike, labels: Labels, *, distances: ArrayLike) -> Tangent:
    """The label's score at x + t u, where u is the gradient of length 1.

    Args:
        model: as of the methods.
        images: (n, h, w, c).
        labels: (n,).
        distances: (t,), in input space.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz.report._tangent import along_gradient
        >>> model = lambda images: 3 * images.sum((1, 2))
        >>> along_gradient(model, jnp.zeros((1, 1, 1, 2)), jnp.array([0]), distances=jnp.array([0.0, 2.0])).scores
        Array([[0., 6.]], dtype=float32)
    """
    model, images = as_model(model), as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    return _along_gradient(model, images, labels, distances=jnp.asarray(distances, images.dtype))


@jit_over_examples()
def _along_gradient(
    model: Model, images: Float[Array, "n h w c"], labels: Int[Array, " n"], *, distances: Float[Array, " t"]
) -> Tangent:
    def follow(image: Float[Array, "h w c"], label: Int[Array, ""]) -> Tangent:
        _, _, gradient = class_gradient(model, image, label)
        direction = l2_normalize(gradient)
        scores = lax.map(lambda t: class_score(model, image + t * direction, label)[0], distances)
        return Tangent(scores, jnp.sqrt(jnp.square(gradient).sum()))

    return map_examples(follow, images, labels)
