"""Question 7: do the pictures that fool one network fool another?"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxviz.report._study import Measured, Study, Tick

TITLE = "Does it transfer to another network?"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return len(study.networks)


def measure(study: Study, done: Mapping[str, Measured], *, tick: Tick) -> Measured:
    """What every network says of every picture that was made to fool one of them."""
    fooling, survival, attacks = (done[key] for key in ("fooling", "survival", "alternatives"))
    owners, first = fooling.numbers["owners"], study.networks[0].name
    made: dict[tuple[str, str], np.ndarray] = {}
    for network in study.networks:
        made["stopped at once", network.name] = fooling.arrays[network.name]
        made["driven on", network.name] = survival.arrays[network.name]
    largest = attacks.numbers["sizes"][-1]
    for attack in attacks.numbers["curves"]["towards"]:
        made[f"{attack}, size {largest:g}", first] = attacks.arrays["towards", attack][-1]
    found: list[dict[str, Any]] = []
    for network in study.networks:
        own = study.scores(network, study.pixels).argmax(-1)[owners]
        targets = np.asarray([run["target"]["index"] for run in fooling.numbers["networks"][network.name]])
        for (kind, source), pictures in made.items():
            if network.name == source or len(study.networks) > 1:
                predicted = study.scores(network, pictures).argmax(-1)
                found.append(
                    {
                        "kind": kind,
                        "made_for": source,
                        "judged_by": network.name,
                        "runs": len(owners),
                        "target": int((predicted == targets).sum()),
                        "changed": int((predicted != own).sum()),
                    }
                )
        tick(network.name)
    return Measured({"networks": [network.name for network in study.networks], "found": found}, None)
