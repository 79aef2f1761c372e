"""The run: each case compiled, and what the compiler says of it."""

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import machine, results
from benchmarks.chips import CHIPS
from benchmarks.results import Row
from benchmarks.tpu_program import IMAGES, Case, abstract_model, compiled_for, devices_of, trivial_model
from benchmarks.tpu_traffic import hbm_bytes
from jaxviz._rewrite.batching import TPU_LANES

TOPOLOGIES = ("v5e:2x2", "v6e:2x2", "v5e:4x4", "v6e:4x4")
_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "reduce-scatter",
)
_VERSIONS = ("jaxviz", "jax", "jaxlib", "flax", "libtpu")
# A matrix product of float32 is one of bfloat16 unless "highest" is asked for; then it is six.
_PASSES = 6


def cases(topologies: Sequence[str], only: Sequence[str]) -> list[Case]:
    """All cases of some topologies, or those with one of some substrings in their names."""
    every = [
        Case(method, network, dtype, topology)
        for topology in topologies
        for network in ("SqueezeNet 1.1", "VGG16")
        for dtype in ("bfloat16", "float32")
        for method in ("saliency", "fooling", "visualization")
    ]
    return [case for case in every if not only or any(part in case.name for part in only)]


def run(wanted: Sequence[Case], file: Path, *, keep: bool) -> None:
    """Compiles the cases, and writes the JSON after each of them.

    Args:
        wanted: what to compile.
        file: the JSON.
        keep: whether rows of other cases that the JSON holds stay.

    Raises:
        NoCompilerError: libtpu is not installed, or knows no such slice.
    """
    slices = {case.topology: devices_of(case.topology) for case in wanted}
    here = {"versions": {name: importlib.metadata.version(name) for name in _VERSIONS}}
    record = results.opened(file, here) if keep and file.exists() else {"machine": here, "rows": []}
    for case in wanted:
        print(case.name, flush=True)
        row = measured(case, slices[case.topology])
        results.put(record, row)
        results.write(file, record)
        print(said(row), flush=True)


def measured(case: Case, devices: Sequence[Any]) -> Row:
    """The row of a case: figures of one chip, and for one call, or for one step of a method that takes many."""
    chip, images = CHIPS[case.topology.split(":")[0]], IMAGES[case.network]
    model = abstract_model(case)
    compiled, seconds = compiled_for(case, devices, images, model)
    cost, program = compiled.cost_analysis(), compiled.as_text()
    assert cost
    assert program
    peak, temporary, code = _memory(compiled)
    per_image = (peak - code - _size(model)) / images
    in_flight = images
    if case.method == "fooling":  # its activations are those of the lanes, however long the queue
        in_flight = min(images, TPU_LANES)
        short, long = (_memory(compiled_for(case, devices, n, trivial_model)[0])[0] for n in (images, 2 * images))
        per_image = (long - short) / images
    row = case._asdict() | {
        "name": case.name,
        "date": machine.today(),
        "chips": len(devices),
        "images": images,
        "in_flight": in_flight,
        "gflop": cost["flops"] / 1e9,
        "gb": cost["bytes accessed"] / 1e9,
        "hbm_gb": hbm_bytes(program) / 1e9,
        "peak_gb": peak / 1e9,
        "temporary_gb": temporary / 1e9,
        "largest_batch": int(images + (chip.usable_gib * 2**30 - peak) / per_image),
        "collectives": [name for name in _COLLECTIVES if name in program],
        "compile_s": seconds,
    }
    row["compute_s"] = row["gflop"] / 1e3 / chip.tflops
    row["hbm_s"] = row["hbm_gb"] / chip.hbm_gb_s
    row["images_per_s"] = in_flight / max(row["compute_s"], row["hbm_s"])
    if case.dtype == "float32":
        row["highest_images_per_s"] = in_flight / max(_PASSES * row["compute_s"], row["hbm_s"])
    return row


def said(row: Row) -> str:
    """One line on a row."""
    return (
        f"  a chip, {row['in_flight']} images{'' if row['method'] == 'saliency' else ', one step'}: "
        f"{row['gflop']:.0f} GFLOP, {row['gb']:.2f} GB moved, {row['hbm_gb']:.2f} of it to and from HBM; "
        f"peak {row['peak_gb']:.2f} GB; largest batch {row['largest_batch']}; "
        f"at most {row['images_per_s']:.0f} images/s; collectives: {', '.join(row['collectives']) or 'none'}; "
        f"compiled in {row['compile_s']:.0f} s"
    )


def _memory(compiled: jax.stages.Compiled) -> tuple[int, int, int]:
    """The most bytes of HBM that a program takes, and of them temporaries, and the program itself."""
    memory = compiled.memory_analysis()
    assert memory
    temporary, code = memory.temp_size_in_bytes, memory.generated_code_size_in_bytes
    examples = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return code + examples + temporary, temporary, code


def _size(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
