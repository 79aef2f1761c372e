"""Question 2, third limit: does the map depend on what the network has learned? (Adebayo et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz.figures import saliency_picture
from jaxviz.report.metrics import rank_correlation
from jaxviz.report.text import mean, number
from jaxviz.report.topics.saliency import maps_of

TITLE = "A sanity check: does the map depend on the weights?"
PAGES = {"sanity_checks": ("Question 2", TITLE)}


def measure(study, network, done):
    """Maps of each kind, of networks whose layers are randomized one after the other, from the last one on."""
    trained, model = done["saliency"].arrays[network.name], network.model
    stages, correlations = [trained], {kind: [] for kind in trained}
    for place, path in enumerate(network.layers.values()):
        model = randomized(model, path, seed=[study.seed, place])
        stages.append(maps_of(study, network, model, study.labels(done)))
        for kind, maps in stages[-1].items():
            correlations[kind].append([rank_correlation(*pair) for pair in zip(trained[kind], maps, strict=True)])
    first = {kind: [stage[kind][0] for stage in stages] for kind in trained}
    return {"layers": list(network.layers), "rank_correlations": correlations}, first


def figures(study, network, numbers, maps, draw):
    """The maps of the first photograph, and the mean correlation over the layers."""
    stages, rows, means = ["trained", *(f"… {layer}" for layer in numbers["layers"])], {}, {}
    for kind, correlations in numbers["rank_correlations"].items():
        values = [1.0, *(of_layer[0] for of_layer in correlations)]
        captions = [f"{stage}: {number(value)}" for stage, value in zip(stages, values, strict=True)]
        row = f"{kind}, {study.photos[0].name}: randomized layers, rank correlation with the trained network's map"
        rows[row] = zip(map(saliency_picture, maps[kind]), captions, strict=True)
        means[kind] = np.array([1.0, *map(mean, correlations)], float)
    lowest = min(-0.1, *(np.nanmin(values) - 0.05 for values in means.values()))
    labels = ("randomized layers, from the last one on", "mean rank correlation")
    return {
        "maps": draw.pictures("cascade", rows),
        "curve": draw.plot(
            "cascade-curve", range(len(stages)), means, labels, lambda axes: axes.set_ylim(lowest, 1.05)
        ),
    }


def randomized(model: Any, layer: str, *, seed: Sequence[int]) -> Any:
    """The model with one layer randomized: normal kernels with the layer's own standard deviation, biases 0.

    `layer` is the beginning of the paths of the layer's leaves, such as "fires/7".
    """
    random = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.Array) -> jax.Array:
        if not (jax.tree_util.keystr(path, simple=True, separator="/") + "/").startswith(f"{layer}/"):
            return leaf
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        kernel = random.standard_normal(leaf.shape, np.float32) * np.asarray(leaf, np.float32).std()
        return jax.device_put(kernel.astype(leaf.dtype), leaf.sharding)

    return jax.tree_util.tree_map_with_path(draw, model)
