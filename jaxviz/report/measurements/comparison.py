"""Question 4: the same with another network. Are its maps less noisy, do they show the same regions?"""

import itertools
from collections.abc import Mapping

from jaxviz.report._measures import blurred_map, overlap, rank_correlation
from jaxviz.report._study import Measured, Study, Tick
from jaxviz.report._text import mean

TITLE = "The same with another network"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return 1


def measure(study: Study, done: Mapping[str, Measured], *, tick: Tick, sigma: float = 8.0) -> Measured:
    """Agreement of each two networks about the same photograph and, as the control, about different ones."""
    maps = done["saliency"].arrays
    coarse = {name: [blurred_map(values, sigma) for values in found] for name, found in maps.items()}
    boxes = {name: [each["box"] for each in found] for name, found in done["saliency"].numbers["networks"].items()}
    pairs = []
    for a, b in itertools.combinations(maps, 2):
        both = range(len(study.photographs))
        pairs.append(
            {
                "networks": [a, b],
                "fine": [rank_correlation(maps[a][i], maps[b][i]) for i in both],
                "coarse": [rank_correlation(coarse[a][i], coarse[b][i]) for i in both],
                "coarse_of_others": [
                    rank_correlation(coarse[a][i], coarse[b][j]) for i in both for j in both if i != j
                ],
                "box_overlap": [overlap(boxes[a][i], boxes[b][i]) for i in both],
            }
        )
    noise = {
        name: {key: mean([each["gradient"][key] for each in found]) for key in ("rank_correlation", "roughness")}
        for name, found in done["noise"].numbers["networks"].items()
    }
    tick("comparison")
    return Measured({"sigma": sigma, "networks": list(maps), "noise": noise, "pairs": pairs}, maps)
