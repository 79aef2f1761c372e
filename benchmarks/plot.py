"""The figure of a run: who is faster, and how the cost grows."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import results
from benchmarks.results import Row
from jaxviz._core.files import replacing

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
_OURS = ("jaxviz", "jaxviz, data_parallel")


def write(file: Path, record: dict[str, Any]) -> None:
    """Ratios by workload, and, of what was measured at several, milliseconds per image by batch and by image size."""
    rows = record["rows"]
    figure = Figure(figsize=(14, 0.36 * len(rows) + 4), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1))
    _ratios(figure.add_subplot(grid[:, 0]), rows)
    squeezenet = [row for row in rows if row["method"] == "saliency" and row["network"] == "squeezenet1_1"]
    batches = sorted((row for row in squeezenet if row["size"] == 224), key=lambda row: row["examples"])
    sizes = sorted((row for row in squeezenet if row["examples"] == 8), key=lambda row: row["size"])
    panels = (
        (batches, "examples", "(b) saliency, SqueezeNet 1.1, 224 x 224 pixels", "images in the batch"),
        (sizes, "size", "(c) saliency, SqueezeNet 1.1, 8 images", "side of the image, pixels"),
    )
    lines: dict[str, Any] = {}
    for place, (found, *about) in enumerate(panels):
        if len(found) > 1:
            axes = figure.add_subplot(grid[place, 1])
            _costs(axes, found, *about)
            handles, names = axes.get_legend_handles_labels()
            lines |= dict(zip(names, handles, strict=True))
    if lines:
        figure.legend(lines.values(), lines.keys(), loc="outside lower right", ncols=4, fontsize=9)
    machine = record["machine"]
    figure.suptitle(
        f"{machine['cpu']}, {machine['cores']} cores, float32; jax {machine['versions']['jax']}, "
        f"torch {machine['versions']['torch']}",
        fontsize=10,
    )
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=130)


def _ratios(axes: Axes, rows: list[Row]) -> None:
    height = 0.38
    for i, name in enumerate(_OURS):
        found = [
            (at, results.ratio(row, name, "pytorch"))
            for at, row in enumerate(rows)
            if name in results.timed(row, "jaxviz")
        ]
        bars = [(at + (i - 0.5) * height, ratio) for at, ratio in found if ratio is not None]
        drawn = axes.barh(
            [at for at, _ in bars], [ratio for _, ratio in bars], height, color=_STYLES[name][0], label=name
        )
        axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("time of the fastest PyTorch form / time of jaxviz (above 1: jaxviz is faster)")
    axes.set_title("(a) against the fastest PyTorch form", loc="left", fontsize=11)
    axes.legend(fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)


def _costs(axes: Axes, rows: list[Row], key: str, title: str, label: str) -> None:
    for name, (colour, marker) in _STYLES.items():
        found = [
            row
            for row in rows
            if name in results.timed(row, row["forms"][name]["family"] if name in row["forms"] else "")
        ]
        if found:
            x = [row[key] for row in found]
            axes.plot(
                x, [results.milliseconds_per_image(row, name) for row in found], color=colour, marker=marker, label=name
            )
    ticks = [row[key] for row in rows]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.set_ylabel("milliseconds per image")
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
