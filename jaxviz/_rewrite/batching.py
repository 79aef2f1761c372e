"""Maps a function over a batch of examples: `map_examples` for equal work, `map_in_lanes` for unequal work.

Both take functions of one example, so norms, keys and stops are per example. The function is traced once and evaluated
as suits the platform: on CPU a few examples at a time, with slow operations replaced (`jaxviz._rewrite.accelerate`);
elsewhere all examples, or many, at once.
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

# Maximum number of input values in one evaluation on CPU: about one image of 224 x 224 x 3. The activations of a larger
# batch do not fit the caches (SqueezeNet 1.1, saliency of 32 images on two cores: 863 ms at once, 738 ms one by one; in
# pairs 632 ms, but an odd batch would then compile a second program for the last image).
_CPU_VALUES = 200_000
# Images in flight on an accelerator: enough to fill its matrix units. A TPU's compiler puts the batch along its vectors
# of 128 elements, so 64 images would need the memory of 128.
GPU_LANES, TPU_LANES = 64, 128


def map_examples(function: Callable[..., _T], *examples: Any) -> _T:
    """`jax.vmap(function)(*examples)`; on CPU in pieces that fit the caches."""
    count, at_once = _size(examples), _at_once(examples)
    programs = for_platforms(function, *_first(examples))
    if not isinstance(count, int):
        at_once = 1  # symbolic; `lax.map` cannot divide it

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
    """Processes a queue of examples with unequal numbers of steps, `lanes` at a time, in one compiled loop.

    When its example is done, a lane writes the result and takes the next example from the queue. No lane waits for the
    slowest example.

    Args:
        start: example -> state, a NamedTuple with a boolean `done`.
        advance: (state, example) -> state, one step.
        result: state -> the example's result.
        examples: pytrees of arrays with leading axis n.
        lanes: number of examples in flight; None for the platform's default.
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
    lanes = jax.core.min_dim(lanes, count)  # `min` that also accepts a symbolic size
    # The queue and the results are rows, since a TPU pads the last axis of an array to 128 elements. With 3 channels
    # last, a step of SqueezeNet 1.1 in bfloat16 accesses 20.5 GB instead of 11.1 (v5e, by the compiler's count).
    rows = _as_rows(examples)

    def at(index: Array) -> Any:
        index = jnp.minimum(index, count - 1)
        return jax.tree.map(lambda row, leaf: row[index].reshape(-1, *leaf.shape[1:]), rows, examples)

    def step(carry: Any) -> Any:
        state, index, waiting, results = carry
        state = jax.vmap(advance)(state, *at(index))
        done = state.done & (index < count)
        row = jnp.where(done, index, count)  # past the end: dropped
        new = _as_rows(jax.vmap(result)(state))
        results = jax.tree.map(lambda kept, new: kept.at[row].set(new, mode="drop"), results, new)
        index = jnp.where(done, jnp.minimum(waiting + jnp.cumsum(done) - 1, count), index)
        state = jax.tree.map(
            lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old),
            jax.vmap(start)(*at(index)),
            state,
        )
        return state, index, waiting + done.sum(), results

    # Zeros like an example: inside `jax.shard_map` the carry then varies over the devices like the examples.
    zero = jnp.zeros_like(jax.tree.leaves(examples)[0], shape=(), dtype=int)
    index = zero + jnp.arange(lanes)
    state = jax.vmap(start)(*at(index))
    first = jax.vmap(result)(state)
    results = jax.tree.map(lambda leaf: jnp.zeros_like(leaf, shape=(count, *leaf.shape[1:])), _as_rows(first))
    carry = (state, index, zero + lanes, results)
    *_, results = lax.while_loop(lambda carry: (carry[1] < count).any(), step, carry)
    return jax.tree.map(lambda row, leaf: row.reshape(count, *leaf.shape[1:]), results, first)


def _as_rows(examples: Any) -> Any:
    """Each array as (n, values)."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0], -1), examples)


def _first(examples: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], examples)


def _size(examples: Any) -> Any:
    """The batch size: an integer, or a symbol in `jax.export`."""
    return jax.tree.leaves(examples)[0].shape[0]


def _at_once(examples: Any) -> int:
    values = sum(math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(examples))
    return max(1, _CPU_VALUES // max(values, 1))
