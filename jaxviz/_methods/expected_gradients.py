"""Expected gradients (Erion et al. 2021): integrated gradients, averaged over a distribution of baselines."""

from typing import SupportsIndex

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key

from jaxviz._core.arguments import Labels, as_images, as_keys, as_labels, as_size
from jaxviz._core.model import Model, as_model, class_gradient, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples


def expected_gradients(
    model: Model,
    images: ArrayLike,
    labels: Labels,
    *,
    baselines: ArrayLike,
    key: Array,
    num_samples: SupportsIndex = 50,
) -> Float[Array, "n h w c"]:
    r"""Attribution of a class score to each value of each image, relative to several baselines.

    .. math::
        A = \frac{1}{S} \sum_{s=0}^{S-1} (x - b_s) \odot
        \frac{\partial \tilde y_{label}}{\partial x} \left( b_s + a_s (x - b_s) \right)

    In sample s, b_s is one of the baselines and the point a_s is uniform in 0 to 1. The attributions of an image add
    up to the score minus the baselines' mean score, in expectation. With `k, l = split(fold_in(fold_in(key, i), s))`
    for example i, the draws are `randint(k, (), 0, m)` and `uniform(l)`. Also known as GradientSHAP.
    Differentiable in the model's weights and in the images; the derivative needs memory for each sample.

    Args:
        model: a callable pytree, `model(images (n, h, w, c)) -> raw scores (n, k)`, or a plain function.
        images: (n, h, w, c), floating point, in the model's own input space.
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives attributions of NaN.
        baselines: (m, h, w, c), m images to compare with, such as a sample of the training data.
        key: a typed key, `jax.random.key(seed)`, or (n,) keys, one for each example, in place of `fold_in(key, i)`.
        num_samples: S >= 1; a new value compiles again.

    Returns:
        (n, h, w, c), in units of the score.

    Raises:
        ValueError: an argument of the wrong rank, type, length or range.
        IndexError: a label that is not a class of the model.

    Reference:
        Erion et al., Improving performance of deep learning models with axiomatic attribution priors and expected
        gradients, arXiv:1906.10670; Lundberg and Lee, arXiv:1705.07874 (SHAP).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = lambda images: images.sum((1, 2))
        >>> images, baselines = jnp.ones((1, 1, 1, 2)), jnp.zeros((3, 1, 1, 2))
        >>> jaxviz.expected_gradients(model, images, [1], baselines=baselines, key=jax.random.key(0))
        Array([[[[0., 1.]]]], dtype=float32)
    """
    model = as_model(model)
    images = as_images(images)
    labels = as_labels(labels, model, images, name="labels")
    baselines = as_images(baselines, name="baselines")
    if baselines.shape[1:] != images.shape[1:] or baselines.dtype != images.dtype:
        raise ValueError(
            f"`baselines` must be {images.dtype} of shape (m, {', '.join(map(str, images.shape[1:]))}), as the images, "
            f"got {baselines.dtype} {baselines.shape}."
        )
    keys, num_samples = as_keys(key, images.shape[0]), as_size(num_samples, name="num_samples")
    return _expected_gradients((model, baselines), images, labels, keys, num_samples=num_samples)


@jit_over_examples("num_samples")
def _expected_gradients(
    shared: tuple[Model, Float[Array, "m h w c"]],
    images: Float[Array, "n h w c"],
    labels: Int[Array, " n"],
    keys: Key[Array, " n"],
    *,
    num_samples: int,
) -> Float[Array, "n h w c"]:
    model, baselines = shared
    dtype = working_dtype(images.dtype)

    def attribution(image: Float[Array, "h w c"], label: Int[Array, ""], key: Key[Array, ""]) -> Float[Array, "h w c"]:
        def add_sample(s: Int[Array, ""], total: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
            baseline_key, point_key = jax.random.split(jax.random.fold_in(key, s))
            baseline = baselines[jax.random.randint(baseline_key, (), 0, len(baselines))].astype(dtype)
            change = image.astype(dtype) - baseline
            point = baseline + jax.random.uniform(point_key, dtype=dtype) * change
            _, _, gradient = class_gradient(model, point.astype(image.dtype), label)
            return total + change * gradient.astype(dtype)

        total = lax.fori_loop(0, num_samples, add_sample, jnp.zeros_like(image, dtype=dtype))
        return (total / num_samples).astype(image.dtype)

    return map_examples(attribution, images, labels, keys)
