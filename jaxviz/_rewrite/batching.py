"""How a batch of independent examples is worked through: `map_examples` for equal work, `map_in_lanes` for unequal.

Both take functions of one example, so that per-example norms, keys and stops come out right by themselves. The function
is traced once, and evaluated as suits the platform that the program is lowered for: on a CPU a few examples at a time,
with the slow operations replaced (`jaxviz._rewrite.accelerate`), elsewhere all examples, or many, at once.
"""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
from jax import Array, lax

from jaxviz._rewrite.accelerate import for_platforms

_T = TypeVar("_T")

# Input values that one go through a network may have on a CPU: about one image of 224 x 224 x 3. A larger batch drives
# the activations out of the caches (SqueezeNet 1.1, saliency of 32 images on two cores: 863 ms at once, 738 ms one by
# one; two by two it was 632 ms, but an odd batch would then compile a second program for the last image).
_CPU_VALUES = 200_000
# Images in flight on an accelerator: enough to fill its matrix units. A TPU's compiler lays the batch along its vectors
# of 128, and 64 images take twice their memory.
GPU_LANES, TPU_LANES = 64, 128


def map_examples(function: Callable[..., _T], *examples: Any) -> _T:
    """`jax.vmap(function)(*examples)`, on a CPU in pieces that fit its caches."""
    count, at_once = _size(examples), _at_once(examples)
    programs = for_platforms(function, *_first(examples))
    if not isinstance(count, int):
        at_once = 1  # a symbol, which `lax.map` cannot divide

    def on_cpu(*examples: Any) -> _T:
        if isinstance(count, int) and count <= at_once:
            return jax.vmap(programs.cpu)(*examples)
        return lax.map(lambda example: programs.cpu(*example), examples, batch_size=at_once if at_once > 1 else None)

    tpu, default = jax.vmap(programs.tpu), jax.vmap(programs.default)
    return lax.platform_dependent(*examples, cpu=on_cpu, tpu=tpu, default=default)


def map_in_lanes(
    start: Callable[..., Any],
    advance: Callable[..., Any],
    result: Callable[[Any], _T],
    *examples: Any,
    lanes: int | None,
) -> _T:
    """Works through a queue of examples of unequal length, `lanes` at a time, in one compiled loop.

    A lane whose example is done writes its result and takes the next example from the queue, so no lane waits for the
    slowest of its batch.

    Args:
        start: example -> state, a NamedTuple with a boolean `done`.
        advance: (state, example) -> state, one step.
        result: state -> what is kept of it.
        examples: pytrees of arrays of leading axis n.
        lanes: examples in flight; as many as suit the platform for None.
    """
    first = _first(examples)
    programs = for_platforms(advance, start(*first), *first)

    def queue(advance: Callable[..., Any], suited: int) -> Callable[..., _T]:
        return lambda *examples: _queue(start, advance, result, *examples, lanes=lanes or suited)

    return lax.platform_dependent(
        *examples,
        cpu=queue(programs.cpu, _at_once(examples)),
        tpu=queue(programs.tpu, TPU_LANES),
        default=queue(programs.default, GPU_LANES),
    )


def _queue(
    start: Callable[..., Any],
    advance: Callable[..., Any],
    result: Callable[[Any], _T],
    *examples: Any,
    lanes: int,
) -> _T:
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

    # Zeros like an example: inside `jax.shard_map` the loop's carry then varies over the devices as the examples do.
    zero = jnp.zeros_like(jax.tree.leaves(examples)[0], shape=(), dtype=int)
    index = zero + jnp.arange(lanes)
    state = jax.vmap(start)(*at(index))
    results = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, shape=(count, *leaf.shape[1:])), jax.vmap(result)(state))
    carry = (state, index, zero + lanes, results)
    *_, results = lax.while_loop(lambda carry: (carry[1] < count).any(), step, carry)
    return results


def _first(examples: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], examples)


def _size(examples: Any) -> Any:
    """Of the batch: an integer, in a `jax.export` maybe a symbol."""
    return jax.tree.leaves(examples)[0].shape[0]


def _at_once(examples: Any) -> int:
    values = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(examples))
    return max(1, _CPU_VALUES // max(values, 1))
