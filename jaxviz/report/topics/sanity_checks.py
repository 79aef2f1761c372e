"""Question 2, third limit: does the map depend on what the network has learned? (Adebayo et al. 2018)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import saliency_maps
from jaxviz.figures import saliency_picture
from jaxviz.report.drawing import Picture, curves
from jaxviz.report.metrics import rank_correlation
from jaxviz.report.study import normalized
from jaxviz.report.text import mean, number, plural

TITLE = "A sanity check: does the map depend on the weights?"
PAGES = {"sanity_checks": ("Question 2", TITLE)}


def measure(study, network, done):
    """Maps of networks whose layers are randomized one after the other, from the last one on."""
    trained, model = done["saliency"].arrays[network.name], network.model
    stages, correlations = [trained], []
    for place, path in enumerate(network.layers.values()):
        model = randomized(model, path, seed=[study.seed, place])
        stages.append(study.run(saliency_maps, model, normalized(study.pixels), study.labels(done)))
        correlations.append([rank_correlation(*pair) for pair in zip(trained, stages[-1], strict=True)])
    return {"layers": list(network.layers), "rank_correlations": correlations}, [stage[0] for stage in stages]


def figures(study, network, numbers, maps, draw):
    """The maps of the first photograph, and the mean correlation over the layers."""
    names, photo = ["trained", *(f"… {layer}" for layer in numbers["layers"])], study.photos[0].name
    row = []
    for place, (name, values) in enumerate(zip(names, maps, strict=True)):
        value = numbers["rank_correlations"][place - 1][0] if place else 1.0
        caption = f"{name}: {number(value)}"
        relation = "all zero" if value is None else f"rank correlation {number(value)} with the trained network's map"
        alt = f"Map of {photo} with {plural(place, 'randomized layer')}: {relation}."
        row.append(Picture(f"cascade-{draw.number}-{place}", saliency_picture(values), caption, alt))
    means = [1.0, *map(mean, numbers["rank_correlations"])]

    def plot(axes, palette):
        y = np.array(means, float)
        labels = ("randomized layers, from the last one on", "mean rank correlation")
        curves(axes, palette, range(len(y)), {"": y}, labels=labels, marked=True)
        axes.axhline(0, color=palette.ink, linewidth=0.8)
        axes.set_ylim(min(-0.1, np.nanmin(y) - 0.05), 1.05)

    steps = ", ".join(f"{layer} {number(value)}" for layer, value in zip(numbers["layers"], means[1:], strict=True))
    alt = f"Mean rank correlation with the map of the trained {network.name}, from 1 on; after {steps}."
    return {"maps": draw.pictures("cascade", [row]), "curve": draw.plot("cascade-curve", plot, alt=alt)}


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
