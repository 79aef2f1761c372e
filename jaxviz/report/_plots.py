"""How the report draws: curves in two palettes, for light and for dark pages, and pictures on one sheet."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

_INCHES = (5.2, 3.5)  # narrow, so that the letters can still be read on a phone
_WIDE_INCHES = (7.4, 3.6)
_PICTURE_INCHES = 2.4
_SHEET = 6  # pictures in a row of a sheet; a longer row goes on below


class Palette(NamedTuple):
    """Colours of a figure; the lines' can be told apart with any colour vision, and are dashed differently, too."""

    paper: str
    ink: str
    faint: str
    lines: tuple[str, ...]


LIGHT = Palette("#ffffff", "#22262e", "#d9dce2", ("#0060a8", "#c04a00", "#00795a", "#a3307f", "#6b6f78", "#8a6d00"))
DARK = Palette("#1a1d23", "#e6e8ec", "#3a3f49", ("#6cb6ff", "#ff9d57", "#4fd1a5", "#f08cd0", "#a9afba", "#e3c34a"))
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (3, 3)), "-")
MARKERS = ("o", "s", "^", "D", "v", "P")


def save(path: Path, draw: Callable[[Any, Palette], None], palette: Palette, *, wide: bool = False) -> None:
    """Writes what `draw(axes, palette)` draws; a wide figure is for much that stands in a table, too."""
    style: dict[Any, Any] = {
        "font.size": 11,
        "axes.edgecolor": palette.ink,
        "axes.labelcolor": palette.ink,
        "axes.facecolor": palette.paper,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": palette.faint,
        "grid.linewidth": 0.8,
        "text.color": palette.ink,
        "xtick.color": palette.ink,
        "ytick.color": palette.ink,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "lines.linewidth": 2,
        "lines.markersize": 5,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=_WIDE_INCHES if wide else _INCHES, layout="constrained", facecolor=palette.paper)
        draw(figure.subplots(), palette)
        figure.savefig(path, dpi=180)


def curves(
    axes: Any,
    palette: Palette,
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    labels: tuple[str, str],
    marked: bool = False,
) -> None:
    """Named lines over the same x, told apart by colour, dashes and, where there are few points, markers."""
    for index, (name, y) in enumerate(lines.items()):
        index %= len(DASHES)
        axes.plot(
            x, y, label=name, color=palette.lines[index], linestyle=DASHES[index],
            marker=MARKERS[index] if marked else None,
        )  # fmt: skip
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    if len(lines) > 1:
        axes.legend()


def shares(axes: Any, palette: Palette, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """A table of shares, 0 to 1, as a coloured field with the percentages written in it; NaN stays empty."""
    axes.grid(visible=False)
    colors = LinearSegmentedColormap.from_list("shares", [palette.paper, palette.lines[0]])
    axes.imshow(values, cmap=colors, vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            color = palette.paper if value > 0.55 else palette.ink
            axes.text(column, row, f"{100 * value:.0f} %", ha="center", va="center", color=color, fontsize=9.5)
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(visible=True, which="minor", color=palette.faint)
    axes.tick_params(which="minor", length=0)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def heat(values: np.ndarray) -> np.ndarray:
    """A map as a picture, black where it is 0 and white from its 99.5th percentile on (as in `jaxviz.figures`)."""
    white = np.percentile(values, 99.5) or values.max() or 1
    colored = mpl.colormaps["inferno"](np.clip(values / white, 0, 1))
    return (255 * colored[..., :3]).round().astype(np.uint8)


def outlined(picture: np.ndarray, box: tuple[int, int, int, int], *, width: int = 2) -> np.ndarray:
    """The picture with a box drawn on it, yellow within black, to be seen on any ground."""
    top, left, bottom, right = box
    drawn = picture.copy()
    for edge, color in ((0, (0, 0, 0)), (1, (255, 221, 51)), (1 + width, (0, 0, 0))):
        thick = 1 if color == (0, 0, 0) else width
        for rows, columns in (
            (slice(top + edge, top + edge + thick), slice(left + edge, right - edge)),
            (slice(bottom - edge - thick, bottom - edge), slice(left + edge, right - edge)),
            (slice(top + edge, bottom - edge), slice(left + edge, left + edge + thick)),
            (slice(top + edge, bottom - edge), slice(right - edge - thick, right - edge)),
        ):
            drawn[rows, columns] = color
    return drawn


def sheet(rows: list[list[tuple[np.ndarray, str]]]) -> Figure:
    """Pictures with their captions as one figure, for slides; on white, in both worlds."""
    rows = [row[start : start + _SHEET] for row in rows for start in range(0, len(row), _SHEET)]
    height, width = len(rows), max(map(len, rows))
    rows = [[(picture, textwrap.fill(text, 34)) for picture, text in row] for row in rows]
    lines = max(text.count("\n") + 1 for row in rows for _, text in row)
    size = (width * _PICTURE_INCHES, height * (_PICTURE_INCHES + 0.2 + 0.17 * lines))
    figure = Figure(figsize=size, layout="constrained", facecolor="white")
    for cells, row in zip(figure.subplots(height, width, squeeze=False), rows, strict=True):
        for axes in cells[len(row) :]:
            axes.axis("off")
        for axes, (picture, caption) in zip(cells, row, strict=False):
            axes.imshow(picture, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            axes.set_xlabel(caption, fontsize=9)
    return figure
