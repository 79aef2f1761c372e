"""Working through a batch in pieces or in lanes gives what `jax.vmap` gives."""

from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxviz._rewrite.batching import map_examples, map_in_lanes

pytestmark = pytest.mark.usefixtures("toy_networks")


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_map_examples_in_pieces_of_four(count):
    examples = np.random.default_rng(0).normal(size=(count, 50_000)).astype(np.float32)  # 200 000 values are a piece
    factors = np.arange(count, dtype=np.float32)

    def function(example, factor):
        return {"sum": example.sum(), "scaled": factor * example[:3]}

    found = jax.jit(lambda *arrays: map_examples(function, *arrays))(examples, factors)
    expected = jax.vmap(function)(examples, factors)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), found, expected)


class Countdown(NamedTuple):
    left: Any
    steps: Any
    done: Any


def start(length):
    return Countdown(length, jnp.array(0, jnp.int32), jnp.array(False))


def advance(state, length):
    done = state.left == 0
    one = (~done).astype(jnp.int32)
    return Countdown(state.left - one, state.steps + one, done)


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 50])
def test_each_example_has_its_own_number_of_steps_whatever_the_lanes(lanes):
    lengths = np.array([3, 0, 7, 1, 1, 12, 2], np.int32)

    steps = jax.jit(lambda lengths: map_in_lanes(start, advance, lambda state: state.steps, lengths, lanes=lanes))
    np.testing.assert_array_equal(steps(lengths), lengths)


def test_a_finished_lane_takes_the_next_example():
    """One long example and many short ones: with two lanes the work is the longest, not the sum of the batches."""
    lengths = jnp.array([30, *[2] * 10], jnp.int32)
    rounds = []

    def count(*_):
        rounds.append(None)

    def counted(state, length):
        jax.debug.callback(count)
        return advance(state, length)

    map_in_lanes(start, counted, lambda state: state.steps, lengths, lanes=2)
    jax.effects_barrier()
    # 31 rounds for the long one, beside which the ten short ones need 30; each round counts once for each lane
    assert len(rounds) <= 2 * 32


def test_lanes_run_under_vmap_and_jit():
    lengths = jnp.array([[3, 1, 2], [0, 5, 4]], jnp.int32)
    mapped = jax.vmap(lambda row: map_in_lanes(start, advance, lambda state: state.steps, row, lanes=2))
    np.testing.assert_array_equal(jax.jit(mapped)(lengths), lengths)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_size_of_the_batch_may_be_a_symbol(count):
    lengths = np.array([3, 0, 7, 1, 2], np.int32)[:count]

    def both(lengths):
        doubled = map_examples(lambda length: 2 * length, lengths)
        return doubled, map_in_lanes(start, advance, lambda state: state.steps, lengths, lanes=3)

    exported = jax.export.export(jax.jit(both))(jax.ShapeDtypeStruct(jax.export.symbolic_shape("n"), jnp.int32))
    doubled, steps = exported.call(lengths)
    np.testing.assert_array_equal(doubled, 2 * lengths)
    np.testing.assert_array_equal(steps, lengths)
