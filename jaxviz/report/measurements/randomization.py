"""Question 2, third limit: does the map depend on what the network has learned? (Adebayo et al. 2018)."""

from collections.abc import Mapping

import numpy as np

from jaxviz._methods import saliency
from jaxviz.report._measures import rank_correlation
from jaxviz.report._networks import in_chunks, untrained
from jaxviz.report._study import Measured, Study, Tick, normalized

TITLE = "A check: does the map depend on the weights?"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return sum(len(network.layers) for network in study.networks)


def measure(study: Study, done: Mapping[str, Measured], *, tick: Tick) -> Measured:
    """Maps of networks whose layers are, from the last one on, untrained again."""
    labels = np.asarray([explained["index"] for explained in done["photographs"].numbers["explained"]])
    batch, networks, maps = normalized(study.pixels), {}, {}
    for network in study.networks:
        trained = done["saliency"].arrays[network.name]
        stages, correlations, model = [trained], [], network.model
        for place, (layer, path) in enumerate(network.layers.items()):
            model = untrained(model, path, seed=[study.seed, place])
            method = study.method(saliency.saliency_maps)
            stages.append(in_chunks(method, model, batch, labels, size=study.size))
            pairs = zip(trained, stages[-1], strict=True)
            correlations.append([rank_correlation(before, after) for before, after in pairs])
            tick(f"{network.name}, {layer}")
        networks[network.name] = {"layers": list(network.layers), "rank_correlations": correlations}
        maps[network.name] = np.stack([stage[0] for stage in stages])
    stems = [photograph.stem for photograph in study.photographs]
    return Measured({"networks": networks, "stems": stems}, maps)
