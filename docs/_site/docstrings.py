"""Converts docstrings to the site's Markdown."""

import re
from typing import Any

import griffe

_MATH = re.compile(r"^( *)\.\. math::[ \n]+((?:.+\n?)+)", re.MULTILINE)
_REFERENCE = re.compile(r"^Reference:\n((?: +.+\n?)+)", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_WORD = re.compile(r"_\{([a-z]{4,})\}")


class Docstrings(griffe.Extension):
    """Puts formulas between dollars, references into paragraphs, and examples under a heading that renders code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each function, class and module."""
        if obj.docstring:
            text = _MATH.sub(_between_dollars, obj.docstring.value)
            text = _REFERENCE.sub(lambda found: f"Reference: {' '.join(found[1].split())}\n", text)
            obj.docstring.value = _EXAMPLE.sub("Examples:", text)


def _between_dollars(found: re.Match[str]) -> str:
    formula = _WORD.sub(r"_{\\text{\1}}", " ".join(found[2].split()))
    return f"{found[1]}$$\n{found[1]}{formula}\n{found[1]}$$\n"
