"""Docstrings as the site's Markdown understands them."""

import re
from typing import Any

import griffe

_MATH = re.compile(r"^( *)\.\. math::[ \n]+((?:.+\n?)+)", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Formulas between dollars; examples under the heading that makes them code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for each function, class and module."""
        if obj.docstring:
            text = _MATH.sub(_between_dollars, obj.docstring.value)
            obj.docstring.value = _EXAMPLE.sub("Examples:", text)


def _between_dollars(match: re.Match[str]) -> str:
    return f"{match[1]}$$\n{match[1]}{' '.join(match[2].split())}\n{match[1]}$$\n"
