"""SmoothGrad (Smilkov et al. 2017): the saliency map of the mean gradient over noisy copies of an image."""

from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._core.arguments import Labels, as_images, as_keys, as_labels, as_number, as_size
from jaxviz._core.model import Model, as_model, class_gradient, largest_magnitude, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def smooth_grad(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    key: Array,
    num_samples: SupportsIndex = 50,
    noise_scale: ArrayLike = 0.5,
) -> Float[Array, "n h w"]:
    r"""Saliency map of the mean gradient over noisy copies of each image.

    .. math::
        M_{pq} = \max_c \left| \frac{1}{S} \sum_{s=0}^{S-1}
        \frac{\partial \tilde y_{label}}{\partial x_{pqc}} (x + \sigma z_s) \right|

    The noise z_s of example i is standard normal, `jax.random.normal(k, (h, w, c), images.dtype)` with
    `k = jax.random.fold_in(jax.random.fold_in(key, i), s)`. Samples are computed one after the other, so memory does
    not grow with their number. Composes with `jit` and `vmap`. Differentiable in the model's weights and in the images;
    the derivative needs memory for each sample.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a map of NaN.
        key: a typed key, `jax.random.key(seed)`, or (n,) keys, one for each example, in place of
            `fold_in(key, i)`.
        num_samples: S >= 1; a new value compiles again.
        noise_scale: the noise's standard deviation in input space, >= 0; a number, or (n,), one for each image. The
            paper uses 0.1 to 0.2 times the range of an image's values; 0.5 is about 0.1 times the range of
            ImageNet-normalized images.

    Returns:
        (n, h, w), each value >= 0: change of the score per unit of the input space.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Smilkov et al., SmoothGrad: removing noise by adding noise, arXiv:1706.03825.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: jnp.maximum(images, 0).sum((1, 2))
        >>> images = jnp.zeros((1, 2, 2, 3))  # where the gradient jumps from 0 to 1
        >>> maps = jaxviz.smooth_grad(model, images, jnp.array([0]), key=jax.random.key(0), num_samples=1000)
        >>> maps.round(1)
        Array([[[0.5, 0.5],
                [0.5, 0.5]]], dtype=float32)
    """
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    count = images.shape[0]
    scales = jnp.broadcast_to(as_number(noise_scale, float, name="noise_scale", count=count), (count,))
    num_samples = as_size(num_samples, name="num_samples")
    return _smooth_grad(model, images, labels, as_keys(key, count), scales, num_samples=num_samples)


@jit_over_examples("num_samples")
def _smooth_grad(
    model: Model,
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    keys: Key[Array, " n"],
    scales: Float[Array, " n"],
    *,
    num_samples: int,
) -> Float[Array, "n h w"]:
    dtype = images.dtype
    total_dtype = working_dtype(dtype)

    def smooth_map(
        image: Float[Array, "h w c"], label: Int[Array, ""], key: Key[Array, ""], scale: Float[Array, ""]
    ) -> Float[Array, "h w"]:
        def add_sample(sample: Int[Array, ""], total: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            noise = jax.random.normal(jax.random.fold_in(key, sample), image.shape, dtype)
            noisy = image.astype(total_dtype) + scale.astype(total_dtype) * noise.astype(total_dtype)
            _, _, gradient = class_gradient(model, noisy.astype(dtype), label)
            return total + gradient.astype(total_dtype)

        total = lax.fori_loop(0, num_samples, add_sample, jnp.zeros_like(image, dtype=total_dtype))
        return largest_magnitude(total / num_samples).astype(dtype)

    return map_examples(smooth_map, images, labels, keys, scales)
