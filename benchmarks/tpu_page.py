"""The page of the TPU programs and the README's table, from the JSON alone."""

from pathlib import Path
from typing import Any

from benchmarks import page
from benchmarks.chips import CHIPS
from benchmarks.results import Row

_METHODS = {"saliency": "saliency", "fooling": "fooling, a step", "visualization": "class visualization, a step"}


def write(file: Path, record: dict[str, Any]) -> None:
    """Writes the page; what people wrote below its measured part stays."""
    if not file.exists():
        file.write_text("<!-- measured -->\n<!-- /measured -->\n")
    page.put_between(file, "measured", measured(record))


def readme_table(record: dict[str, Any]) -> str:
    """The rows of the README: one chip of the smallest slice of each kind, in bfloat16."""
    lines = [
        "| compiled, not run | chip | GFLOP an image | MB moved an image (HBM) | largest batch | at most, images/s |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        if row["topology"].endswith(":2x2") and row["dtype"] == "bfloat16":
            lines.append(
                f"| {_work(row)} | {_chip(row)} | {_each(row, 'gflop'):.3g} "
                f"| {1e3 * _each(row, 'gb'):.3g} ({1e3 * _each(row, 'hbm_gb'):.3g}) | {row['largest_batch']} "
                f"| {_rate(row)} |"
            )
    return "\n".join([*lines, "", f"Compiled, not run: {_versions(record)}."]) + "\n"


def measured(record: dict[str, Any]) -> str:
    """All rows, and what their figures mean."""
    parts = [f"# TPU programs: compiled, not run\n\n{_versions(record)}.\n\n{_HOW}"]
    for topology in dict.fromkeys(row["topology"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["topology"] == topology]
        parts.append(f"## {topology}, {rows[0]['chips']} chips\n\n{_table(rows)}")
    return "\n".join(parts)


_SOURCES = "; ".join(
    f"{name}: {chip.tflops:g} TFLOP/s in bfloat16, {chip.hbm_gb_s:g} GB/s, {chip.hbm_gib:g} GB ({chip.source})"
    for name, chip in CHIPS.items()
)
_USABLE = ", ".join(f"{chip.usable_gib:g} of {chip.hbm_gib:g} GiB on {name}" for name, chip in CHIPS.items())
_HOW = f"""\
No TPU ran any of this. libtpu's compiler compiles each method, through `jaxviz.data_parallel`, for a slice of chips, on
a machine without one, and tells operations and bytes; all figures are of one chip.

- Images of 224 x 224 in the weights' type; weights are shapes alone.
- *in flight*: images of a chip that are worked on together: all of the call, and of fooling's queue as many as it has
  lanes by default.
- *GFLOP* and *GB moved* are the compiler's counts (`cost_analysis`). It counts a loop's body once, so a row of fooling
  or class visualization is **one step**, with what the call does once before and after it (a test compiles 10 and 20
  steps, and finds the same count). The blur, which comes every tenth step, is counted as if it came in each.
- *of it HBM*: "moved" has what is read and written in the chip's own memory (VMEM), too, and a copy between the two at
  its start and at its end. This is the part to and from HBM, read off the compiled program: the operands and results
  that no layout puts into VMEM, as they are padded, and of an operand that is cut into pieces, the pieces.
- *peak*: program, arguments, results and temporaries. *largest batch* of one call is computed, not compiled: this
  call's images, and as many more as fit the memory that the compiler leaves to a program ({_USABLE}) at this call's
  bytes per image, without weights and program. In fooling's queue an image takes what it does around a model of one
  layer, as two compiled programs of it tell. The memory is the chip's own: 16 GB on v5e, 32 GB on v6e.
- *at most*: images (for a step: image steps) per second of one chip at its published peak, the slower of operations and
  HBM; what bounds is named. {_SOURCES}. A real run is slower: convolutions do not fill the matrix units.
- **float32 is not float32 in a TPU's matrix units**: by default its products are made of bfloat16 roundings of both
  factors, in one pass, and the sums are float32; the row is counted so. With
  `jax.default_matmul_precision("highest")` there are six passes: *highest* counts the operations six times.
- *collectives*: none is what must be, since the images are independent.
"""


def _table(rows: list[Row]) -> str:
    lines = [
        "| work | in flight | GFLOP | GB moved | of it HBM | MB moved an image | peak | largest batch | at most "
        "| highest | collectives | compiled in |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        highest = f"{row['highest_images_per_s']:.0f}/s" if "highest_images_per_s" in row else ""
        lines.append(
            f"| {_work(row)} | {row['in_flight']} | {row['gflop']:.0f} | {row['gb']:.2f} | {row['hbm_gb']:.2f} "
            f"| {1e3 * _each(row, 'gb'):.3g} | {row['peak_gb']:.2f} GB | {row['largest_batch']} | {_rate(row)} "
            f"| {highest} | {', '.join(row['collectives']) or 'none'} | {row['compile_s']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def _work(row: Row) -> str:
    return f"{row['network']} {_METHODS[row['method']]}, {row['dtype']}"


def _chip(row: Row) -> str:
    return row["topology"].split(":")[0]


def _each(row: Row, name: str) -> float:
    return row[name] / row["in_flight"]


def _rate(row: Row) -> str:
    return f"{row['images_per_s']:.0f}/s ({'HBM' if row['hbm_s'] > row['compute_s'] else 'operations'})"


def _versions(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in record["machine"]["versions"].items())
