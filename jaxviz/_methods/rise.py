"""RISE (Petsiuk et al. 2018): the mean of random masks, weighted by the class probability of the masked images."""

from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._core.arguments import Labels, as_images, as_keys, as_labels, as_number, as_size
from jaxviz._core.model import Model, as_model, class_score, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def rise(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    key: Array,
    num_masks: SupportsIndex = 1000,
    cell: SupportsIndex = 28,
    keep: ArrayLike = 0.5,
) -> Float[Array, "n h w"]:
    r"""Importance of each pixel: the expected class probability, given that the pixel is visible.

    .. math::
        M_{pq} = \frac{1}{S \, p} \sum_{s=0}^{S-1} \operatorname{softmax}(\tilde y(x \odot m_s))_{label} \, m_{s,pq}

    A mask is a grid of cells, each 1 with probability p = `keep` and else 0, enlarged by one cell with linear
    interpolation and cut to the image at a random offset. A masked pixel has value 0, the mean colour in
    ImageNet-normalized space. The method needs only the model's scores. Masks are computed one after the other, so
    memory does not grow with their number. Mask s of example i has the key
    `jax.random.fold_in(jax.random.fold_in(key, i), s)`.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a map of NaN.
        key: a typed key, `jax.random.key(seed)`, or (n,) keys, one for each example, in place of `fold_in(key, i)`.
        num_masks: S >= 1; the paper uses 4000 to 8000. A new value compiles again.
        cell: side of a cell in pixels, 1 to the shorter side; the paper has 8 x 8 cells of 28 pixels. A new value
            compiles again.
        keep: p, in 0.01 to 1: the probability that a cell is visible.

    Returns:
        (n, h, w), each value >= 0.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Petsiuk, Das, Saenko, RISE: randomized input sampling for explanation of black-box models, arXiv:1806.07421.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: 10 * images.sum((1, 2))
        >>> images = jnp.zeros((1, 8, 8, 3)).at[0, 1, 6, 2].set(1.0)  # one pixel is blue
        >>> maps = jaxviz.rise(model, images, [2], key=jax.random.key(0), num_masks=500, cell=2)
        >>> maps[0, 1, 6] > maps[0].mean()
        Array(True, dtype=bool)
    """
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    return _rise(
        model,
        images,
        labels,
        as_keys(key, images.shape[0]),
        keep=as_number(keep, float, name="keep", low=0.01, high=1),
        num_masks=as_size(num_masks, name="num_masks"),
        cell=as_size(cell, name="cell", high=min(images.shape[1:3])),
    )


@jit_over_examples("num_masks", "cell")
def _rise(
    model: Model,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    keys: Key[Array, " n"],
    *,
    keep: Float[Array, ""],
    num_masks: int,
    cell: int,
) -> Float[Array, "n h w"]:
    dtype = working_dtype(images.dtype)

    def importance(image: Float[Array, "h w c"], label: Int[Array, ""], key: Key[Array, ""]) -> Float[Array, "h w"]:
        def add_mask(s: Int[Array, ""], total: Float[Array, "h w"]) -> Float[Array, "h w"]:
            mask = _random_mask(jax.random.fold_in(key, s), image.shape[:2], cell, keep).astype(dtype)
            score, scores = class_score(model, image * mask[..., None].astype(image.dtype), label)
            probability = jnp.where(jnp.isnan(score), jnp.nan, jax.nn.softmax(scores)[label])
            return total + probability.astype(dtype) * mask

        total = lax.fori_loop(0, num_masks, add_mask, jnp.zeros_like(image, shape=image.shape[:2], dtype=dtype))
        return (total / (num_masks * keep.astype(dtype))).astype(image.dtype)

    return map_examples(importance, images, labels, keys)


def _random_mask(key: Key[Array, ""], shape: tuple[int, ...], cell: int, keep: Float[Array, ""]) -> Float[Array, "h w"]:
    cells_key, offset_key = jax.random.split(key)
    rows, columns = (-(-size // cell) for size in shape)
    cells = (jax.random.uniform(cells_key, (rows, columns), jnp.float32) < keep.astype(jnp.float32)).astype(jnp.float32)
    # One cell more than the image has, so that every offset has values
    enlarged = jax.image.resize(
        cells, ((rows + 1) * cell, (columns + 1) * cell), "linear", precision=lax.Precision.HIGHEST
    )
    return lax.dynamic_slice(enlarged, jax.random.randint(offset_key, (2,), 0, cell, jnp.int32), shape)
