"""The page: one template for each section, put together by `page.html`."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup

from jaxviz.report import text


def environment() -> Environment:
    """The templates, with the functions of `text` and the macros of `macros.html` as globals.

    Everything is escaped, and an unknown name is an error.
    """
    jinja = Environment(
        loader=PackageLoader("jaxviz.report"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    words = (text.percent, text.number, text.general, text.of, text.plural, text.listed, text.sentence, text.span)
    functions = {function.__name__: function for function in (*words, text.mean, median)}
    jinja.filters.update(functions)
    jinja.globals.update(functions, mathml=_mathml)
    macros = vars(jinja.get_template("macros.html").module)
    jinja.globals.update({name: macro for name, macro in macros.items() if not name.startswith("_")})
    return jinja


def section(jinja: Environment, name: str, **context: Any) -> Markup:
    """The section of the template `name`."""
    return Markup(jinja.get_template(f"{name}.html").render(name=name, **context))


def page(jinja: Environment, sections: Sequence[Mapping[str, Any]], *, about: Mapping[str, Any], status: str) -> str:
    """The whole page.

    Args:
        jinja: as `environment` returns it.
        sections: those that are finished: "name", "question", "title" and "markup".
        about: what report.json has under this name.
        status: a note on missing sections; empty where the report is complete.
    """
    return jinja.get_template("page.html").render(sections=sections, about=about, status=status)


def _mathml(latex: str) -> Markup:
    return Markup(convert(latex, display="block").replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))
