"""Question 1: the saliency maps."""

from collections.abc import Mapping

import numpy as np

from jaxviz._methods import saliency
from jaxviz.report._measures import area_share, smallest_box
from jaxviz.report._networks import in_chunks
from jaxviz.report._study import Measured, Study, Tick, normalized

TITLE = "Saliency maps"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return len(study.networks)


def measure(study: Study, done: Mapping[str, Measured], *, tick: Tick, share: float = 0.5, cell: int = 8) -> Measured:
    """A map of each photograph for each network, and how much of the picture half of it takes."""
    labels = [explained["index"] for explained in done["photographs"].numbers["explained"]]
    maps, networks = {}, {}
    for network in study.networks:
        found = in_chunks(
            study.method(saliency.saliency_maps),
            network.model,
            normalized(study.pixels),
            np.asarray(labels),
            size=study.size,
        )
        maps[network.name], networks[network.name] = found, []
        for values in found:
            box = smallest_box(values, share=share, cell=cell)
            brightest = np.sort(values.ravel())[-values.size // 100 :].sum() / (values.sum() or 1)
            networks[network.name].append(
                {
                    "largest": float(values.max()),
                    "box": box,
                    "box_area": area_share(box, values.shape),
                    "share_of_brightest_percent": float(brightest),
                }
            )
        tick(network.name)
    numbers = {"share": share, "explained": done["photographs"].numbers["explained"], "networks": networks}
    return Measured(numbers, maps)
