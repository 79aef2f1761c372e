"""The figures of a report: grids of pictures, strips of frames, and plots for light and for dark pages."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont
from skimage.draw import rectangle_perimeter

from jaxviz._core.files import replacing
from jaxviz.report.metrics import Box

_INCHES, _WIDE_INCHES = (5.2, 3.5), (7.4, 3.6)  # narrow, so that the text can be read on a phone
_SHEET_COLUMNS, _SHEET_GAP, _SHEET_LINE = 6, 12, 16
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.2, 1.2, 1.2)), (0, (3, 3)), "-")
_MARKERS = ("o", "s", "^", "D", "v", "P")


class Palette(NamedTuple):
    """The colours of a plot. Its lines can be told apart with any colour vision, and differ in their dashes, too."""

    paper: str
    ink: str
    faint: str
    lines: tuple[str, ...]


_LIGHT = Palette("#ffffff", "#22262e", "#d9dce2", ("#0060a8", "#c04a00", "#00795a", "#a3307f", "#6b6f78", "#8a6d00"))
_DARK = Palette("#1a1d23", "#e6e8ec", "#3a3f49", ("#6cb6ff", "#ff9d57", "#4fd1a5", "#f08cd0", "#a9afba", "#e3c34a"))


class Picture(NamedTuple):
    """A picture to be drawn: its file's name without suffix, (h, w, 3) uint8, the text under it, alternative text."""

    name: str
    pixels: np.ndarray
    caption: str
    alt: str


class Drawing(NamedTuple):
    """Writes the figures of one network; each file is written whole or not at all."""

    folder: Path  # of the report
    written: dict[str, str]  # what each file shows, by its name relative to the report
    number: int  # of the network, from 1 on; a part of the files' names

    def picture(self, picture: Picture) -> dict[str, str]:
        """One picture, pixel for pixel."""
        return self._save(picture.name, picture.alt, Image.fromarray(picture.pixels).save) | {
            "caption": picture.caption
        }

    def pictures(self, name: str, rows: Sequence[Sequence[Picture]]) -> dict[str, Any]:
        """A grid of pictures, each as a file and all of them on one sheet."""
        captions = "; ".join(picture.caption for row in rows for picture in row)
        sheet = self._save(f"{name}-{self.number}", f"All pictures of a figure: {captions}", _sheet(rows).save)
        return {"sheet": sheet["file"], "rows": [[self.picture(picture) for picture in row] for row in rows]}

    def film(self, name: str, frames: np.ndarray, *, caption: str, alt: str, seconds: float = 5.0) -> dict[str, str]:
        """Frames (s, h, w, 3) side by side as one picture, and as an animated PNG that plays once."""
        first, *rest = map(Image.fromarray, frames)
        options = {"save_all": True, "append_images": rest, "duration": 1000 * seconds / len(frames), "loop": 1}
        animation = self._save(f"{name}-animation", alt, lambda path: first.save(path, **options))
        strip = self.picture(Picture(f"{name}-frames", np.concatenate(list(frames), axis=1), caption, alt))
        return {**strip, "animation": animation["file"]}

    def plot(self, name: str, draw: Callable[[Any, Palette], None], *, alt: str, wide: bool = False) -> dict[str, str]:
        """What `draw(axes, palette)` draws, for light and for dark pages."""

        def save(palette: Palette, path: Path) -> None:
            with mpl.rc_context(_style(palette)):
                size = _WIDE_INCHES if wide else _INCHES
                figure = Figure(figsize=size, layout="constrained", facecolor=palette.paper)
                draw(figure.subplots(), palette)
                figure.savefig(path, dpi=160)

        light = self._save(f"{name}-{self.number}", alt, partial(save, _LIGHT))
        return light | {"dark": self._save(f"{name}-{self.number}-dark", alt, partial(save, _DARK))["file"]}

    def _save(self, name: str, alt: str, save: Callable[[Path], None]) -> dict[str, str]:
        file = f"figures/{name}.png"
        self.written[file] = alt
        with replacing(self.folder / file) as temporary:
            save(temporary)
        return {"file": file, "alt": alt}


def _style(palette: Palette) -> dict[Any, Any]:
    names = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(names, palette.ink),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
        **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
        "axes.facecolor": palette.paper,
        "grid.color": palette.faint,
        "grid.linewidth": 0.8,
        "font.size": 11,
        "legend.fontsize": 9.5,
        "lines.linewidth": 2,
        "lines.markersize": 5,
    }


def curves(
    axes: Any,
    palette: Palette,
    x: Any,
    lines: Mapping[str, Any],
    *,
    labels: tuple[str, str],
    marked: bool = False,
) -> None:
    """Named lines of numbers over the same x, with different colours, dashes and, for few points, markers."""
    for index, (name, y) in enumerate(lines.items()):
        index %= len(_DASHES)
        marker = _MARKERS[index] if marked else None
        axes.plot(x, y, label=name, color=palette.lines[index], linestyle=_DASHES[index], marker=marker)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    if len(lines) > 1:
        axes.legend()


def matrix(axes: Any, palette: Palette, values: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Shares of 0 to 1 as coloured cells with the percentages; NaN stays empty."""
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
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def outlined(picture: np.ndarray, box: Box) -> np.ndarray:
    """The picture with a box drawn on it, yellow between black lines, visible on any background."""
    drawn = picture.copy()
    for edge, color in enumerate(((0, 0, 0), (255, 221, 51), (255, 221, 51), (0, 0, 0))):
        # the perimeter is around the rectangle
        start, end = (box[0] + edge + 1, box[1] + edge + 1), (box[2] - 2 - edge, box[3] - 2 - edge)
        drawn[rectangle_perimeter(start, end, shape=picture.shape[:2], clip=True)] = color
    return drawn


def _sheet(rows: Sequence[Sequence[Picture]]) -> Image.Image:
    """The pictures with their captions on white, for slides; a long row continues below."""
    rows = [row[start : start + _SHEET_COLUMNS] for row in rows for start in range(0, len(row), _SHEET_COLUMNS)]
    side = max(224, *(max(picture.pixels.shape[:2]) for row in rows for picture in row))
    texts = [["\n".join(textwrap.wrap(picture.caption, 32)) for picture in row] for row in rows]
    lines = max(text.count("\n") + 1 for row in texts for text in row)
    height, width = side + lines * _SHEET_LINE + 2 * _SHEET_GAP, side + _SHEET_GAP
    sheet = Image.new("RGB", (max(map(len, rows)) * width + _SHEET_GAP, len(rows) * height + _SHEET_GAP), "white")
    font, draw = ImageFont.truetype(findfont("DejaVu Sans"), 12), ImageDraw.Draw(sheet)
    for row, (pictures, captions) in enumerate(zip(rows, texts, strict=True)):
        for column, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            left, top = _SHEET_GAP + column * width, _SHEET_GAP + row * height
            sheet.paste(Image.fromarray(picture.pixels).resize((side, side), Image.Resampling.NEAREST), (left, top))
            draw.text((left, top + side + 5), caption, "black", font)
    return sheet
