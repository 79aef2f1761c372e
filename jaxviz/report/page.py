"""The page: one template for each section, put together by `page.html`."""

from statistics import median

from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml.converter import convert
from markupsafe import Markup

from jaxviz.report import text


def environment() -> Environment:
    """The templates, with the functions of `text` and the macros of `macros.html` as globals.

    Everything is escaped, and an unknown name is an error.
    """
    jinja = Environment(loader=PackageLoader("jaxviz.report"), autoescape=True, undefined=StrictUndefined)
    words = (text.percent, text.number, text.of, text.plural, text.listed, text.span)
    functions = {function.__name__: function for function in (*words, text.mean, median)}
    functions["general"] = "{:g}".format  # the shortest form, such as 0.001 or 25
    jinja.filters.update(functions)
    jinja.globals.update(functions, mathml=_mathml)
    macros = vars(jinja.get_template("macros.html").module)
    jinja.globals.update({name: macro for name, macro in macros.items() if not name.startswith("_")})
    return jinja


def _mathml(latex: str) -> Markup:
    return Markup(convert(latex, display="block").replace(' xmlns="http://www.w3.org/1998/Math/MathML"', ""))
