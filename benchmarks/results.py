"""The JSON of a run, the figures that follow from it, its pages and its plot."""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import jax
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.worker import cores
from jaxviz._core.files import replacing

Row = dict[str, Any]
_PACKAGES = ("jaxviz", "jax", "jaxlib", "flax", "numpy", "torch", "torchvision", "captum", "grad-cam", "torchattacks")
# Okabe and Ito's colours, told apart by colour-blind readers too; the markers differ as well
_STYLES = {
    "jaxviz": ("#D55E00", "o"),
    "jaxviz, data_parallel": ("#E69F00", "s"),
    "JAX, plain": ("#CC79A7", "v"),
    "PyTorch, contiguous": ("#0072B2", "^"),
    "PyTorch, channels_last": ("#56B4E9", "D"),
    "PyTorch, torch.compile": ("#009E73", "X"),
    "captum, Saliency": ("#000000", "P"),
}


def machine() -> dict[str, Any]:
    """The machine and the versions, nothing that names its owner."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = {key.strip(): value.strip() for key, value in (line.split(":", 1) for line in lines if ":" in line)}
    flags = cpu.get("flags", "").split()
    vectors = [name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags]
    return {
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "instruction_set": vectors[0] if vectors else platform.machine(),
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES if _installed(name)},
        "precision": 'float32 (jax_default_matmul_precision "highest", torch.set_float32_matmul_precision "highest")',
        **({"max_isa": isa} if (isa := os.environ.get("ONEDNN_MAX_CPU_ISA")) else {}),
        **_gpu(),
    }


def _installed(package: str) -> bool:
    return bool(list(importlib.metadata.distributions(name=package)))


def _gpu() -> dict[str, str]:
    """The name, memory and driver of the GPU; nothing without one."""
    if jax.default_backend() != "gpu":
        return {}
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    name, memory, driver = subprocess.check_output(query, text=True).splitlines()[0].split(", ")
    return {"gpu": f"{name}, {memory}, driver {driver}"}


def read(file: Path) -> dict[str, Any]:
    """The record of a run."""
    return json.loads(file.read_text())


def opened(file: Path, machine: dict[str, Any], *, keep: bool) -> dict[str, Any]:
    """A new record, or to `keep` its rows, the one in the file, which must be of this machine and these versions."""
    if not (keep and file.exists()):
        return {"machine": machine, "rows": []}
    record = read(file)
    if record["machine"] != machine:
        raise ValueError(f"{file} was measured with another machine or other versions; use another --output.")
    return record


def write(file: Path, record: dict[str, Any], row: Row) -> None:
    """Writes the record with a row added, or put in place of an earlier one of its name."""
    names = [old["name"] for old in record["rows"]]
    at = names.index(row["name"]) if row["name"] in names else len(names)
    record["rows"][at : at + 1] = [row]
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def render(template: str, **values: Any) -> str:
    """A page or a table from its template in `pages`."""
    folder = FileSystemLoader(Path(__file__).with_name("pages"))
    environment = Environment(loader=folder, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["seconds"] = lambda s: f"{s:.3g} s" if s >= 1 else f"{1e3 * s:.3g} ms"
    environment.globals |= {"fastest": fastest, "ratio": ratio}
    return environment.get_template(template).render(**values)


def put_between(file: Path, mark: str, content: str) -> None:
    """Replaces what stands between `<!-- mark -->` and `<!-- /mark -->`; the rest of the file stays."""
    place = re.compile(rf"(<!-- {mark} -->\n).*(<!-- /{mark} -->)", re.DOTALL)
    text, found = place.subn(lambda match: match[1] + content + match[2], file.read_text())
    if not found:
        raise ValueError(f"{file.name} has no place between <!-- {mark} --> and <!-- /{mark} -->.")
    with replacing(file) as temporary:
        temporary.write_text(text)


def write_page(file: Path, **values: Any) -> None:
    """Writes the measured part of the page of a JSON file, beside it; what people wrote below that part stays.

    The files "speed-gpu.json" and "speed-avx2.json" share the template of "speed.json".
    """
    page = file.with_suffix(".md")
    if not page.exists():
        page.write_text("<!-- measured -->\n<!-- /measured -->\n")
    template = f"{page.stem.partition('-')[0]}.md.jinja"
    put_between(page, "measured", render(template, record=read(file), **values))


def timed(row: Row) -> dict[str, dict[str, Any]]:
    """The forms that were timed without an error, by name."""
    return {name: form for name, form in row["forms"].items() if "median_s" in form and "error" not in form}


def fastest(row: Row, *families: str) -> str | None:
    """The name of the form with the least median."""
    times = {name: form["median_s"] for name, form in timed(row).items() if form["family"] in families}
    return min(times, key=lambda name: times[name]) if times else None


def ratio(row: Row, name: str) -> float | None:
    """How many times as long as a form the fastest form of PyTorch takes."""
    other = fastest(row, "pytorch")
    return row["forms"][other]["median_s"] / row["forms"][name]["median_s"] if other else None


def plot(file: Path, record: dict[str, Any]) -> None:
    """Ratios by workload, and, of what was measured at several, milliseconds per image by batch and by image size."""
    rows, machine, versions = record["rows"], record["machine"], record["machine"]["versions"]
    figure = Figure(figsize=(14, 0.36 * len(rows) + 4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    _plot_ratios(figure.add_subplot(grid[:, 0]), rows)
    squeezenet = [row for row in rows if row["method"] == "saliency" and row["network"] == "squeezenet1_1"]
    batches = sorted((row for row in squeezenet if row["size"] == 224), key=lambda row: row["examples"])
    sizes = sorted((row for row in squeezenet if row["examples"] == 8), key=lambda row: row["size"])
    lines: dict[str, Any] = {}
    for place, found, key, title, label in (
        (0, batches, "examples", "(b) saliency, SqueezeNet 1.1, 224 x 224 pixels", "images in the batch"),
        (1, sizes, "size", "(c) saliency, SqueezeNet 1.1, 8 images", "side of the image, pixels"),
    ):
        if len(found) > 1:
            axes = figure.add_subplot(grid[place, 1], xlabel=label, ylabel="milliseconds per image")
            axes.set_title(title, loc="left", fontsize=11)
            _plot_costs(axes, found, key)
            handles, names = axes.get_legend_handles_labels()
            lines |= dict(zip(names, handles, strict=True))
    if lines:
        figure.legend(lines.values(), lines.keys(), loc="outside lower right", ncols=4, fontsize=9)
    instructions = machine.get("max_isa", machine["instruction_set"])
    about = f"{machine['cpu']} ({instructions}), {machine['cores']} cores, float32"
    figure.suptitle(f"{about}; jax {versions['jax']}, torch {versions['torch']}", fontsize=10)
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=130)


def _plot_ratios(axes: Axes, rows: list[Row]) -> None:
    height = 0.38
    for i, name in enumerate(("jaxviz", "jaxviz, data_parallel")):
        ratios = {at: ratio(row, name) for at, row in enumerate(rows) if name in timed(row)}
        bars = {at + (i - 0.5) * height: value for at, value in ratios.items() if value is not None}
        drawn = axes.barh(list(bars), list(bars.values()), height, color=_STYLES[name][0], label=name)
        axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("time of the fastest PyTorch form / time of jaxviz (above 1: jaxviz is faster)")
    axes.set_title("(a) against the fastest PyTorch form", loc="left", fontsize=11)
    axes.legend(fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)


def _plot_costs(axes: Axes, rows: list[Row], key: str) -> None:
    for name, (colour, marker) in _STYLES.items():
        costs = {row[key]: 1e3 * timed(row)[name]["median_s"] / row["examples"] for row in rows if name in timed(row)}
        if costs:
            axes.plot(list(costs), list(costs.values()), color=colour, marker=marker, label=name)
    ticks = [row[key] for row in rows]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
