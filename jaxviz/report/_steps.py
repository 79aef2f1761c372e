"""The steps of a report, in their order: what each measures, and the pages that are made of that."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from jaxviz.report._blocks import Section
from jaxviz.report.measurements import (
    alternatives,
    comparison,
    evidence,
    fooling,
    localization,
    noise,
    photographs,
    randomization,
    saliency,
    survival,
    transfer,
    visualization,
)
from jaxviz.report.pages import alternatives as alternatives_page
from jaxviz.report.pages import comparison as comparison_page
from jaxviz.report.pages import evidence as evidence_page
from jaxviz.report.pages import fooling as fooling_page
from jaxviz.report.pages import localization as localization_page
from jaxviz.report.pages import noise as noise_page
from jaxviz.report.pages import photographs as photographs_page
from jaxviz.report.pages import randomization as randomization_page
from jaxviz.report.pages import saliency as saliency_page
from jaxviz.report.pages import survival as survival_page
from jaxviz.report.pages import transfer as transfer_page
from jaxviz.report.pages import visualization as visualization_page
from jaxviz.report.pages import visualization_others, visualization_settings


class Step(NamedTuple):
    """One measurement, under its name in report.json.

    Attributes:
        key: the name, and that of its settings.
        module: `measure(study, done, *, tick, **settings) -> Measured`; `parts(study)`, how often it ticks; `TITLE`.
        pages: each (study, numbers, arrays, files) -> Section.
    """

    key: str
    module: ModuleType
    pages: tuple[Callable[..., Section], ...]


STEPS = (
    Step("photographs", photographs, (photographs_page.section,)),
    Step("saliency", saliency, (saliency_page.section,)),
    Step("noise", noise, (noise_page.section,)),
    Step("evidence", evidence, (evidence_page.section,)),
    Step("randomization", randomization, (randomization_page.section,)),
    Step("localization", localization, (localization_page.section,)),
    Step("comparison", comparison, (comparison_page.section,)),
    Step("fooling", fooling, (fooling_page.section,)),
    Step("survival", survival, (survival_page.section,)),
    Step("alternatives", alternatives, (alternatives_page.section,)),
    Step("transfer", transfer, (transfer_page.section,)),
    Step(
        "visualization",
        visualization,
        (
            visualization_page.from_noise,
            visualization_settings.section,
            visualization_page.from_photograph,
            visualization_others.section,
        ),
    ),
)
