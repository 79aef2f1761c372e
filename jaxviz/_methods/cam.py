"""Grad-CAM (Selvaraju et al. 2017) and its variants: where the activations of a layer support a class."""

import math
from collections.abc import Sequence
from typing import Literal, SupportsIndex, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from jaxviz._core.arguments import Labels, as_images, as_labels, as_size
from jaxviz._core.model import Model, as_model, class_gradient, working_dtype
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples

Variant = Literal["grad_cam", "grad_cam++", "hires_cam", "layer_cam"]


def grad_cam(
    head: Model,
    activations: ArrayLike,
    labels: Labels,
    *,
    variant: Variant = "grad_cam",
    grid: Sequence[SupportsIndex] | None = None,
) -> Float[Array, "n h w"]:
    r"""Class activation map of each image: a weighted sum of a layer's channels, from the gradient at this layer.

    With activations A of h x w positions and gradients G = ∂ score / ∂ A:

    .. math::
        M_{pq} &= \max \Big(0, \sum_c w_{pqc} A_{pqc} \Big) \\
        w_{pqc} &= \begin{cases}
        \frac{1}{h w} \sum_{ij} G_{ijc} & \text{grad_cam} \\
        \sum_{ij} \frac{G_{ijc}^2}{2 G_{ijc}^2 + G_{ijc}^3 \sum_{ab} A_{abc}} \max(0, G_{ijc}) & \text{grad_cam++} \\
        G_{pqc} & \text{hires_cam} \\
        \max(0, G_{pqc}) & \text{layer_cam}
        \end{cases}

    `jaxviz.split` makes the head. The map has the activations' grid; to lay it over an image, resize it with
    `jax.image.resize(maps, (n, height, width), "linear")`. Differentiable in the head's weights and in the activations.

    Args:
        head: a callable pytree, `head(activations (n, ...)) -> raw scores (n, k)`, or a plain function.
        activations: (n, h, w, c), floating point; or, with `grid`, tokens (n, t, c).
        labels: (n,) integers in 0 to k - 1. A traced value out of range gives a map of NaN.
        variant: "grad_cam", "grad_cam++", "hires_cam" or "layer_cam".
        grid: (h, w), for tokens: the last h w tokens are the patches, in row-major order. Tokens before them, such as a
            class token, are not part of the sums.

    Returns:
        (n, h, w), each value >= 0.

    Raises:
        ValueError: an argument of the wrong rank, type or length; a grid that does not fit the tokens.
        IndexError: a label that is not a class of the model.

    Reference:
        Selvaraju et al., Grad-CAM, arXiv:1610.02391; Chattopadhay et al., Grad-CAM++, arXiv:1710.11063; Draelos and
        Carin, HiResCAM, arXiv:2011.08891; Jiang et al., LayerCAM, IEEE TIP 2021.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model, images = jaxviz.load_model("squeezenet1_1"), jnp.zeros((1, 224, 224, 3))
        >>> features, head = jaxviz.split(model, images, "fire9")
        >>> jaxviz.grad_cam(head, features(images), [281]).shape
        (1, 13, 13)
    """
    if variant not in get_args(Variant):
        raise ValueError(f"`variant` must be one of {', '.join(get_args(Variant))}, got {variant!r}.")
    head = as_model(head)
    if grid is None and np.ndim(activations) == 3:
        raise ValueError(
            f"`activations` must have shape (n, h, w, c), got {np.shape(activations)}; tokens need `grid`, the rows "
            f"and columns of their patches."
        )
    activations = as_images(activations, name="activations", ndim=4 if grid is None else 3)
    if grid is not None:
        grid = _as_grid(grid, activations.shape[1])
    labels = as_labels(labels, head, activations, name="labels")
    return _grad_cam(head, activations, labels, variant=variant, grid=grid)


def _as_grid(grid: Sequence[SupportsIndex], tokens: int) -> tuple[int, int]:
    try:
        rows, columns = (as_size(size, name="grid") for size in grid)
    except (TypeError, ValueError):
        raise ValueError(f"`grid` must be (rows, columns), two sizes of 1 or more, got {grid!r}.") from None
    if rows * columns > tokens:
        raise ValueError(f"`grid` must have at most as many positions as tokens, got {rows} x {columns} for {tokens}.")
    return rows, columns


@jit_over_examples("variant", "grid")
def _grad_cam(
    head: Model, activations: Float[Array, "n ..."], labels: Int[Array, " n"], *, variant: Variant, grid: tuple | None
) -> Float[Array, "n h w"]:
    def class_activation_map(activation: Float[Array, "*p c"], label: Int[Array, ""]) -> Float[Array, "h w"]:
        _, _, gradient = class_gradient(head, activation, label)
        dtype = working_dtype(activation.dtype)
        # (positions, channels); the last tokens are the patches
        first = 0 if grid is None else activation.shape[0] - math.prod(grid)
        a, g = (x.astype(dtype)[first:].reshape(-1, x.shape[-1]) for x in (activation, gradient))
        if variant == "grad_cam":
            a = a * g.mean(0, keepdims=True)
        elif variant == "hires_cam":
            a = a * g
        elif variant == "layer_cam":
            a = a * jax.nn.relu(g)
        else:
            denominator = 2 * g**2 + g**3 * a.sum(0, keepdims=True)
            alpha = jnp.where(denominator == 0, 0, g**2 / jnp.where(denominator == 0, 1, denominator))
            a = a * (alpha * jax.nn.relu(g)).sum(0, keepdims=True)
        shape = activation.shape[:-1] if grid is None else grid
        return jax.nn.relu(a.sum(-1)).reshape(shape).astype(activation.dtype)

    return map_examples(class_activation_map, activations, labels)
