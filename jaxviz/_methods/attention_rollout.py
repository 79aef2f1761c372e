"""Attention rollout (Abnar and Zuidema 2020): how much each token attends to each input token, through all blocks."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxviz._core.arguments import as_array, on_device


def attention_rollout(
    attentions: ArrayLike | Sequence[ArrayLike], *, residual: bool = True
) -> Float[Array, "n tokens tokens"]:
    r"""Product of the attention matrices of all blocks, averaged over heads.

    .. math:: R = \hat A_L \cdots \hat A_2 \hat A_1, \quad \hat A = \tfrac{1}{2} (\bar A + I)

    where Ā is a block's mean attention over its heads. The row of the class token is its dependence on each token; the
    patches form an image by `rollout[:, 0, 1:].reshape(-1, rows, columns)`.

    `jaxviz.capture` reads attention weights that a model tags by `jax.ad_checkpoint.checkpoint_name`; those of a loop
    over blocks come stacked, as this function takes them.

    Args:
        attentions: the blocks' attention weights in order, each (n, heads, t, t), or stacked (blocks, n, heads, t, t).
            Each row adds up to 1.
        residual: whether the identity is added for the residual connection; without it, Â = Ā.

    Returns:
        (n, t, t); each row adds up to 1.

    Raises:
        ValueError: no attention weights, or weights of the wrong rank or of different shapes.

    Reference:
        Abnar and Zuidema, Quantifying attention flow in transformers, arXiv:2005.00928.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> attention = jnp.array([[0.0, 1.0], [0.5, 0.5]])[None, None]  # one image, one head
        >>> jaxviz.attention_rollout([attention])
        Array([[[0.5 , 0.5 ],
                [0.25, 0.75]]], dtype=float32)
    """
    blocks = [as_array(attention) for attention in attentions]  # pyright: ignore[reportGeneralTypeIssues]
    shapes = {block.shape for block in blocks}
    shape = next(iter(shapes), ())
    if len(shapes) != 1 or len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(
            f"`attentions` must be weights of shape (n, heads, t, t), all of the same shape, got "
            f"{', '.join(map(str, shapes)) or 'none'}."
        )
    if not all(jnp.issubdtype(block.dtype, jnp.floating) for block in blocks):
        raise ValueError(f"`attentions` must be floating point, got {blocks[0].dtype}.")
    return _rollout([on_device(block, block.dtype) for block in blocks], residual)


@partial(jax.jit, static_argnums=1)
def _rollout(attentions: list[Float[Array, "n heads t t"]], residual: bool) -> Float[Array, "n t t"]:
    identity = jnp.eye(attentions[0].shape[-1], dtype=attentions[0].dtype)[None]
    rollout = jnp.broadcast_to(identity, attentions[0][:, 0].shape)
    for attention in attentions:
        mean = attention.mean(1)
        rollout = jnp.matmul((mean + identity) / 2 if residual else mean, rollout, precision="highest")
    return rollout
