"""Occlusion (Zeiler and Fergus 2014): how much the class score falls when a part of the image is covered."""

from typing import SupportsIndex

import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxviz._core.arguments import Baseline, Labels, as_baseline, as_images, as_labels, as_size
from jaxviz._core.model import Model, as_model, class_score
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def occlusion(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    window: SupportsIndex = 32,
    stride: SupportsIndex = 16,
    baseline: Baseline = 0.0,
) -> Float[Array, "n rows columns"]:
    r"""Decrease of the class score when a square window of the image is replaced by a baseline.

    .. math:: M_{ij} = \tilde y_{label}(x) - \tilde y_{label}(x \text{ with the baseline in window } (i, j))

    Window (i, j) covers rows i `stride` to i `stride` + `window` - 1, and columns likewise. The windows cover the whole
    image; the last of an axis is cut off at the edge. Windows are computed one after the other, so memory does not grow
    with their number. Differentiable in the model's weights and in the images.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a map of NaN.
        window: side of the window in pixels, 1 to the shorter side; a new value compiles again.
        stride: distance between windows in pixels, 1 to `window`; a new value compiles again.
        baseline: a number, one for each channel, or (n, h, w, c), one for each image. In ImageNet-normalized space 0 is
            the mean colour.

    Returns:
        (n, rows, columns) with rows = ceil((h - window) / stride) + 1, in units of the score; negative where covering
        the window raises the score.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, arXiv:1311.2901.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: images.sum((1, 2))
        >>> images = jnp.zeros((1, 4, 4, 3)).at[0, 3, 3, 2].set(1.0)  # one pixel is blue
        >>> jaxviz.occlusion(model, images, [2], window=2, stride=2)
        Array([[[0., 0.],
                [0., 1.]]], dtype=float32)
    """
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    window = as_size(window, name="window", high=min(images.shape[1:3]))
    stride = as_size(stride, name="stride", high=window)
    return _occlusion(model, images, labels, as_baseline(baseline, images), window=window, stride=stride)


@jit_over_examples("window", "stride")
def _occlusion(
    model: Model,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    baselines: Float[Array, "n h w c"],
    *,
    window: int,
    stride: int,
) -> Float[Array, "n rows columns"]:
    def occlusion_map(
        image: Float[Array, "h w c"], label: Int[Array, ""], baseline: Float[Array, "h w c"]
    ) -> Float[Array, "rows columns"]:
        height, width, _ = image.shape
        rows, columns = (-(-(size - window) // stride) + 1 for size in (height, width))

        def score(place: Int[Array, " 2"]) -> Float[Array, ""]:
            top, left = place * stride
            y, x = jnp.arange(height, dtype=jnp.int32)[:, None], jnp.arange(width, dtype=jnp.int32)[None]
            covered = (y >= top) & (y < top + window) & (x >= left) & (x < left + window)
            return class_score(model, jnp.where(covered[..., None], baseline, image), label)[0]

        whole, _ = class_score(model, image, label)
        places = jnp.stack(jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij"), -1)
        scores = lax.map(score, places.reshape(-1, 2).astype(jnp.int32))
        return (whole - scores).reshape(rows, columns)

    return map_examples(occlusion_map, images, labels, baselines)
