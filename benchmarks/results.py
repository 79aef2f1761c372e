"""The JSON of a run, and the figures that follow from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxviz._core.files import replacing

Row = dict[str, Any]


def opened(file: Path, machine: dict[str, Any]) -> dict[str, Any]:
    """The record in a file, to be added to.

    Raises:
        ValueError: the record is of another machine or of other versions, whose rows do not belong beside new ones.
    """
    record = read(file)
    if record["machine"] != machine:
        raise ValueError(
            f"{file} was measured with another machine or other versions; delete it, or use another --output."
        )
    return record


def read(file: Path) -> dict[str, Any]:
    """The record of a run."""
    return json.loads(file.read_text())


def put(record: dict[str, Any], row: Row) -> None:
    """Adds a row, in place of an earlier one of its name."""
    names = [old["name"] for old in record["rows"]]
    if row["name"] in names:
        record["rows"][names.index(row["name"])] = row
    else:
        record["rows"].append(row)


def write(file: Path, record: dict[str, Any]) -> None:
    """Writes the record, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def summarize(form: dict[str, Any]) -> None:
    """Adds the median of the repeats and their quartiles."""
    if form.get("repeats_s"):
        low, median, high = np.quantile(form["repeats_s"], [0.25, 0.5, 0.75]).tolist()
        form |= {"median_s": median, "quartiles_s": [low, high]}


def timed(row: Row, *families: str) -> dict[str, dict[str, Any]]:
    """The forms of these families that were timed without an error, by name."""
    return {
        name: form
        for name, form in row["forms"].items()
        if form["family"] in families and "median_s" in form and "error" not in form
    }


def fastest(row: Row, *families: str) -> str | None:
    """The name of the form with the least median."""
    forms = timed(row, *families)
    return min(forms, key=lambda name: forms[name]["median_s"]) if forms else None


def ratio(row: Row, name: str, *families: str) -> float | None:
    """How many times as long as a form the fastest of some families takes."""
    other = fastest(row, *families)
    return row["forms"][other]["median_s"] / row["forms"][name]["median_s"] if other else None


def gemm_share(row: Row, name: str) -> float:
    """The rate of a form, as a share of the machine's rate of matrix products."""
    form = row["forms"][name]
    return form["gradients"] * row["flop_per_image"] / form["median_s"] / 1e9 / max(row["gemm_gflops"].values())


def milliseconds_per_image(row: Row, name: str) -> float:
    """The median over the images."""
    return 1e3 * row["forms"][name]["median_s"] / row["examples"]
