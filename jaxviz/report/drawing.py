"""The figures of a report: grids of pictures, and plots for light and for dark pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from PIL import Image, ImageDraw

from jaxviz._core.files import replacing
from jaxviz.report.metrics import Box
from jaxviz.report.text import number

_FEW = 12  # points, that get a marker and a number in the alternative text
# The lines can be told apart with any colour vision, and differ in their dashes and markers, too.
_LINES = cycler(linestyle=["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (3, 3)), "-"])
_LINES += cycler(marker=["o", "s", "^", "D", "v", "P"])
_LIGHT = ("#ffffff", "#22262e", "#d9dce2", ["#0060a8", "#c04a00", "#00795a", "#a3307f", "#6b6f78", "#8a6d00"])
_DARK = ("#1a1d23", "#e6e8ec", "#3a3f49", ["#6cb6ff", "#ff9d57", "#4fd1a5", "#f08cd0", "#a9afba", "#e3c34a"])


class Drawing(NamedTuple):
    """Writes the figures of one network; each file is written whole or not at all."""

    folder: Path  # of the report
    written: dict[str, str]  # what each file shows, by its name relative to the report
    network: int  # from 1 on; a part of the files' names

    def pictures(self, name: str, rows: Mapping[str, Iterable[tuple[np.ndarray, str]]]) -> list[list[dict[str, str]]]:
        """Pictures (h, w, 3) uint8 with their captions; "row: caption" is the alternative text."""
        return [
            [
                self._save(f"{name}-{self.network}-{place}-{column}", f"{row}: {caption}", Image.fromarray(pixels).save)
                | {"caption": caption}
                for column, (pixels, caption) in enumerate(pictures)
            ]
            for place, (row, pictures) in enumerate(rows.items())
        ]

    def plot(
        self,
        name: str,
        x: Sequence[float | int] | np.ndarray,
        lines: Mapping[str, Any],
        labels: tuple[str, str],
        adjust: Callable[[Any], None] = lambda axes: None,
    ) -> dict[str, str]:
        """Named lines of numbers over the same x, for light and for dark pages; `adjust(axes)` is called at the end."""
        few = len(x) <= _FEW

        def save(path: Path) -> None:
            figure = Figure(figsize=(5.2, 3.5), layout="constrained")  # narrow, so that a phone shows readable text
            axes = figure.subplots()
            for line, y in lines.items():
                axes.plot(x, y, label=line)[0].set_markersize(5 if few else 0)
            axes.set(xlabel=labels[0], ylabel=labels[1])
            adjust(axes)
            if len(axes.get_legend_handles_labels()[0]) > 1:
                axes.legend()
            figure.savefig(path, dpi=160)

        shown = {line: np.asarray(y, float)[:: 1 if few else len(x) - 1] for line, y in lines.items()}
        values = "; ".join(f"{line}: {', '.join(map(number, y.tolist()))}" for line, y in shown.items())
        alt, files = f"{labels[1]} over {labels[0]}, from {x[0]:g} to {x[-1]:g}. {values}.", []
        for suffix, style in (("", _style(*_LIGHT)), ("-dark", _style(*_DARK))):
            with mpl.rc_context(style):
                files.append(self._save(f"{name}-{self.network}{suffix}", alt, save)["file"])
        return {"file": files[0], "dark": files[1], "alt": alt}

    def _save(self, name: str, alt: str, save: Callable[[Path], None]) -> dict[str, str]:
        file = f"figures/{name}.png"
        self.written[file] = alt
        with replacing(self.folder / file) as temporary:
            save(temporary)
        return {"file": file, "alt": alt}


def _style(paper: str, ink: str, faint: str, colors: list[str]) -> dict[Any, Any]:
    names = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(names, ink),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
        **dict.fromkeys(("axes.facecolor", "figure.facecolor", "legend.edgecolor"), paper),
        "axes.prop_cycle": _LINES + cycler(color=colors),
        "grid.color": faint,
        "grid.linewidth": 0.8,
        "font.size": 11,
        "legend.fontsize": 9.5,
        "lines.linewidth": 2,
    }


def outlined(picture: np.ndarray, box: Box) -> np.ndarray:
    """The picture with a box drawn on it, yellow between black lines, visible on any background."""
    (top, left, bottom, right), image = box, Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    draw.rectangle((left, top, right - 1, bottom - 1), outline="black", width=4)
    draw.rectangle((left + 1, top + 1, right - 2, bottom - 2), outline=(255, 221, 51), width=2)
    return np.asarray(image)
