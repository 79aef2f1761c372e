"""The page, made from sections."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from jaxviz._core.files import replacing
from jaxviz.report._blocks import Section


def write(
    folder: Path,
    sections: Sequence[Section],
    *,
    about: Mapping[str, Any],
    status: str | None,
) -> None:
    """Writes index.html, whole or not at all.

    Args:
        folder: where.
        sections: those that are finished.
        about: what report.json says, less the numbers of the sections.
        status: what to say of sections that are missing; None if there are none.
    """
    page = _environment().get_template("page.html.jinja").render(sections=sections, about=about, status=status)
    with replacing(folder / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("jaxviz.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
