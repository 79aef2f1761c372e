"""What a page is made of: figures, tables, sliders and films, and the files behind them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from jaxviz import figures
from jaxviz._core.files import replacing
from jaxviz.report import _plots


class Picture(NamedTuple):
    """One picture: its file, the text under it, and what a reader who cannot see it is told."""

    file: str
    caption: str
    alt: str


class Pictures(NamedTuple):
    """A grid of pictures, and all of it as one file."""

    caption: str
    rows: list[list[Picture]]
    sheet: str
    kind: str = "pictures"


class Plots(NamedTuple):
    """Curves side by side, each as (file for light pages, file for dark ones, alternative text)."""

    caption: str
    panels: list[tuple[str, str, str]]
    wide: bool = False
    kind: str = "plots"


class Table(NamedTuple):
    """Rows of cells; the first of each names the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    kind: str = "table"


class Sliders(NamedTuple):
    """Pairs of pictures, one of which is drawn over the other as far as the reader likes."""

    caption: str
    pairs: list[tuple[Picture, Picture]]
    kind: str = "sliders"


class Film(NamedTuple):
    """Strips of frames, of which the reader sees one frame at a time, and files of the same, by name."""

    caption: str
    strips: list[Picture]
    frames: list[str]
    columns: int
    links: Mapping[str, str]
    kind: str = "film"


class Formula(NamedTuple):
    """A formula of `_formulas` on a line of its own, and what its letters stand for."""

    markup: Markup
    letters: str
    kind: str = "formula"


class Text(NamedTuple):
    """A paragraph between the figures, or a heading of a part of a section."""

    text: str
    heading: bool = False
    kind: str = "text"


class Section(NamedTuple):
    """One question, answered.

    Attributes:
        key: the anchor, and the name in report.json.
        question: such as "Question 1".
        title: a short one, for the table of contents.
        idea: for somebody who has never heard of it.
        finding: what was measured here, in sentences that follow from the numbers.
        blocks: formulas, figures, tables and the text between them.
        method: how it was computed.
        limits: what it does not show.
    """

    key: str
    question: str
    title: str
    idea: list[str]
    finding: list[str]
    blocks: list[Any]
    method: list[str]
    limits: list[str]


class Files:
    """Writes the pictures of a report, each whole or not at all, and remembers them.

    Attributes:
        written: the name of each file, relative to the report, with what it shows.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.written: dict[str, str] = {}
        (folder / "figures").mkdir(parents=True, exist_ok=True)

    def picture(self, name: str, pixels: np.ndarray, *, caption: str, alt: str) -> Picture:
        """A picture (h, w, 3) uint8, pixel for pixel."""
        with self._replacing(name, alt) as temporary:
            Image.fromarray(pixels).save(temporary)
        return Picture(f"figures/{name}.png", caption, alt)

    def pictures(self, name: str, rows: list[list[tuple[str, np.ndarray, str, str]]], *, caption: str) -> Pictures:
        """A grid of (name, pixels, caption, alt), each as a file of its own and all as one."""
        with self._replacing(name, caption) as temporary:
            figures.save(temporary, _plots.sheet([[cell[1:3] for cell in row] for row in rows]))
        cells = [[self.picture(n, pixels, caption=text, alt=alt) for n, pixels, text, alt in row] for row in rows]
        return Pictures(caption, cells, f"figures/{name}.png")

    def plot(
        self, name: str, draw: Callable[[Any, _plots.Palette], None], *, alt: str, wide: bool = False
    ) -> tuple[str, str, str]:
        """What `draw(axes, palette)` draws, once for light and once for dark pages."""
        names = name, f"{name}-dark"
        for file, palette in zip(names, (_plots.LIGHT, _plots.DARK), strict=True):
            with self._replacing(file, alt) as temporary:
                _plots.save(temporary, draw, palette, wide=wide)
        return f"figures/{names[0]}.png", f"figures/{names[1]}.png", alt

    def strip(self, name: str, frames: np.ndarray, *, caption: str, alt: str) -> Picture:
        """Frames (s, h, w, 3) side by side."""
        return self.picture(name, np.concatenate(list(frames), axis=1), caption=caption, alt=alt)

    def animation(self, name: str, frames: np.ndarray, *, seconds: float, alt: str) -> str:
        """Frames (s, h, w, 3) as an animated PNG that plays once; the last one stays."""
        first, *rest = [Image.fromarray(frame) for frame in frames]
        with self._replacing(name, alt) as temporary:
            first.save(temporary, save_all=True, append_images=rest, duration=1000 * seconds / len(frames), loop=1)
        return f"figures/{name}.png"

    def _replacing(self, name: str, shows: str):
        self.written[f"figures/{name}.png"] = shows
        return replacing(self._folder / "figures" / f"{name}.png")
