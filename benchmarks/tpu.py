"""Every method compiled for slices of TPUs that need not be there, and what the compiler says of the programs."""

import importlib.metadata
import importlib.util
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental import topologies

import jaxviz
from benchmarks import results
from benchmarks.jax_forms import call_of
from jaxviz._rewrite.batching import TPU_LANES
from jaxviz.models import VGG16, SqueezeNet

TOPOLOGIES = ("v5e:2x2", "v6e:2x2", "v5e:4x4", "v6e:4x4")
NETWORKS = {"SqueezeNet 1.1": lambda **options: SqueezeNet("1_1", **options), "VGG16": VGG16}
# Images of each chip in one call: whole tiles of 128, so that nothing is padded.
_IMAGES = {"SqueezeNet 1.1": 256, "VGG16": 128}
_SIZE = 224
_STEPS = 10  # of a class visualization; the compiler counts a loop's body once, however often it runs
_COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-", "reduce-scatter")
_VERSIONS = ("jaxviz", "jax", "jaxlib", "flax", "libtpu")


class Chip(NamedTuple):
    """A TPU as its maker describes it: https://cloud.google.com/tpu/docs/v5e and v6e.

    Some editions of these pages say 800 and 1600 GB/s. The compiler gives a program `usable_gib`, by its own messages.
    """

    tflops: float  # matrix products in bfloat16
    hbm_gb_s: float
    usable_gib: float


CHIPS = {"v5e": Chip(197, 819, 15.75), "v6e": Chip(918, 1640, 31.24)}


class Case(NamedTuple):
    """What is compiled. A topology is a chip and the shape of a slice of such chips, as "v5e:2x2"."""

    method: str
    network: str
    dtype: str
    topology: str

    @property
    def name(self) -> str:
        """All of it."""
        return f"{self.network} {self.method}, {self.dtype}, {self.topology}"


class NoCompilerError(Exception):
    """There is no compiler for TPUs here, or none for such a slice; the message says what to do."""


def cases(topologies: Sequence[str], only: Sequence[str] = ()) -> list[Case]:
    """All cases of some topologies, or those with one of some substrings in their names."""
    every = [
        Case(method, network, dtype, topology)
        for topology in topologies
        for network in NETWORKS
        for dtype in ("bfloat16", "float32")
        for method in ("saliency", "fooling", "visualization")
    ]
    return [case for case in every if not only or any(part in case.name for part in only)]


def run(wanted: Sequence[Case], file: Path, *, keep: bool) -> None:
    """Compiles the cases, and writes the JSON after each of them; `keep` keeps its rows of other cases."""
    slices = {case.topology: devices_of(case.topology) for case in wanted}
    versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
    record = results.opened(file, {"versions": versions}, keep=keep)
    for case in wanted:
        row = measured(case, slices[case.topology])
        results.write(file, record, row)
        print(row, flush=True)


def devices_of(topology: str) -> Sequence[Any]:
    """The devices of a slice, to compile for.

    Raises:
        NoCompilerError: libtpu is not installed, or knows no such slice.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise NoCompilerError("The compiler for TPUs is missing; install it with: pip install 'jaxviz[app,tpu-aot]'")
    if topology.split(":")[0] not in CHIPS:
        raise NoCompilerError(f"--topology must be a slice of {' or '.join(CHIPS)}, as v5e:2x2, got {topology}")
    # libtpu looks for the machine's own TPU, and complains that there is none, unless told; and lets one process of a
    # machine use it at a time, which compiling does not need.
    os.environ.update(TPU_SKIP_MDS_QUERY="1", TPU_LOG_DIR="disabled", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    os.environ.update(TPU_ACCELERATOR_TYPE="v5litepod-4", TPU_WORKER_HOSTNAMES="localhost")
    jax.config.update("jax_platforms", "cpu")  # where the constants of a program are made
    try:
        return topologies.get_topology_desc(topology, platform="tpu").devices
    except jax.errors.JaxRuntimeError as error:
        raise NoCompilerError(f"--topology {topology}: {str(error).splitlines()[0]}") from error


def measured(case: Case, devices: Sequence[Any]) -> results.Row:
    """The row of a case: figures of one chip, and for one call, or for one step of a method that takes many."""
    images = _IMAGES[case.network]
    # shapes and types alone: no weight is downloaded, or allocated
    model = nnx.eval_shape(lambda: NETWORKS[case.network](dtype=jnp.dtype(case.dtype), rngs=nnx.Rngs(0)))
    start = time.perf_counter()
    compiled = lowered(case, devices, images, model).compile()
    seconds = time.perf_counter() - start
    cost, memory, program = compiled.cost_analysis(), compiled.memory_analysis(), compiled.as_text()
    assert cost
    assert memory
    assert program
    temporary, code = memory.temp_size_in_bytes, memory.generated_code_size_in_bytes
    arrays = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    row = case._asdict() | {
        "name": case.name,
        "date": time.strftime("%Y-%m-%d"),
        "chips": len(devices),
        "images": images,
        # the activations of fooling are those of the lanes, however long the queue
        "in_flight": min(images, TPU_LANES) if case.method == "fooling" else images,
        "gflop": cost["flops"] / 1e9,
        "gb": cost["bytes accessed"] / 1e9,
        "peak_gb": (code + arrays + temporary) / 1e9,
        "temporary_gb": temporary / 1e9,
        "collectives": [name for name in _COLLECTIVES if name in program],
        "compile_s": seconds,
    }
    if case.method != "fooling":
        weights = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(model))
        left = CHIPS[case.topology.split(":")[0]].usable_gib * 2**30 - code - weights
        row["largest_batch"] = int(images * left / (arrays + temporary - weights))
    return row


def lowered(case: Case, devices: Sequence[Any], images: int, model: Any, *, size: int = _SIZE) -> Any:
    """The program of a call with so many images for each device."""
    examples = jax.ShapeDtypeStruct((images * len(devices), size, size, 3), case.dtype)
    classes = jax.ShapeDtypeStruct(examples.shape[:1], jnp.int32)
    method, arguments, options = call_of(case.method, examples, classes, _STEPS)
    return jaxviz.data_parallel(method, devices=devices).lower(model, *arguments, **options)
