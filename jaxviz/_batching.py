"""How a batch of independent examples is worked through: `for_each` for equal work, `in_lanes` for unequal.

Both take functions of one example, so that per-example norms, keys and stops come out right by themselves.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
from jax import Array, lax

_T = TypeVar("_T")

# Input values that one go through a network may have on a CPU: about one image of 224 x 224 x 3. A larger batch drives
# the activations out of the caches (SqueezeNet 1.1, saliency of 32 images on two cores: 863 ms at once, 738 ms one by
# one; two by two it was 632 ms, but an odd batch would then compile a second program for the last image).
_CPU_VALUES = 200_000
# Images in flight on an accelerator: enough to fill its matrix units. A TPU's compiler lays the batch along its vectors
# of 128, and 64 images take twice their memory.
_GPU_LANES, _TPU_LANES = 64, 128


def for_each(function: Callable[..., _T], *examples: Any) -> _T:
    """`jax.vmap(function)(*examples)`, on a CPU in pieces that fit its caches."""
    count, at_once = _size(examples), _at_once(examples)
    everything = jax.vmap(function)
    if isinstance(count, int):
        if count <= at_once:
            return everything(*examples)
    else:  # a symbol, which `lax.map` cannot divide
        at_once = 1

    def in_pieces(*examples: Any) -> _T:
        return lax.map(lambda example: function(*example), examples, batch_size=at_once if at_once > 1 else None)

    return lax.platform_dependent(*examples, cpu=in_pieces, default=everything)


def default_lanes(*examples: Any, platform: str) -> int:
    """Examples that are best in flight together on a device."""
    if platform == "cpu":
        return _at_once(examples)
    return _TPU_LANES if platform == "tpu" else _GPU_LANES


def in_lanes(
    start: Callable[..., Any],
    advance: Callable[..., Any],
    result: Callable[[Any], _T],
    *examples: Any,
    lanes: int,
) -> _T:
    """Works through a queue of examples of unequal length, `lanes` at a time, in one compiled loop.

    A lane whose example is done writes its result and takes the next example from the queue, so no lane waits for the
    slowest of its batch.

    Args:
        start: example -> state, a NamedTuple with a boolean `done`.
        advance: (state, example) -> state, one step.
        result: state -> what is kept of it.
        examples: pytrees of arrays of leading axis n.
        lanes: examples in flight.
    """
    count = _size(examples)
    lanes = jax.core.min_dim(lanes, count)  # `min`, of a symbolic size too

    def at(index: Array) -> Any:
        return jax.tree.map(lambda leaf: leaf[jnp.minimum(index, count - 1)], examples)

    def step(carry: Any) -> Any:
        state, index, waiting, results = carry
        state = jax.vmap(advance)(state, *at(index))
        done = state.done & (index < count)
        row = jnp.where(done, index, count)  # past the end: dropped
        results = jax.tree.map(lambda kept, new: kept.at[row].set(new, mode="drop"), results, jax.vmap(result)(state))
        index = jnp.where(done, jnp.minimum(waiting + jnp.cumsum(done) - 1, count), index)
        state = jax.tree.map(
            lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old),
            jax.vmap(start)(*at(index)),
            state,
        )
        return state, index, waiting + done.sum(), results

    index = jnp.arange(lanes)
    state = jax.vmap(start)(*at(index))
    results = jax.tree.map(
        lambda leaf: jnp.zeros((count, *leaf.shape[1:]), leaf.dtype), jax.eval_shape(jax.vmap(result), state)
    )
    carry = (state, index, jnp.array(lanes), results)
    *_, results = lax.while_loop(lambda carry: (carry[1] < count).any(), step, carry)
    return results


def _size(examples: Any) -> Any:
    """Of the batch: an integer, in a `jax.export` maybe a symbol."""
    return jax.tree.leaves(examples)[0].shape[0]


def _at_once(examples: Any) -> int:
    values = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(examples))
    return max(1, _CPU_VALUES // max(values, 1))
