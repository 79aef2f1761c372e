"""The report: the practical's eleven questions, answered with measurements on your photographs (extra `app`)."""

from jaxviz.report._networks import Network as Network
from jaxviz.report._networks import load as load
from jaxviz.report._write import write as write

__all__ = ["Network", "load", "write"]
