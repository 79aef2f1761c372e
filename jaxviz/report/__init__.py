"""The report: the practical's eleven questions, answered with measurements on your photographs (extra `app`)."""

from jaxviz.report.network import Network as Network
from jaxviz.report.network import load as load
from jaxviz.report.writer import write as write

__all__ = ["Network", "load", "write"]
