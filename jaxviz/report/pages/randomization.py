"""The page of `measurements.randomization`."""

from functools import partial
from typing import Any

import numpy as np

from jaxviz.report._blocks import Files, Plots, Section
from jaxviz.report._plots import curves, heat
from jaxviz.report._study import Study
from jaxviz.report._text import mean, number, plural
from jaxviz.report.measurements.randomization import TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks, stem = [], numbers["stems"][0]
    for index, (name, found) in enumerate(numbers["networks"].items()):
        names = ["trained", *(f"… {layer}" for layer in found["layers"])]
        row = []
        for place, (text, values) in enumerate(zip(names, arrays[name], strict=True)):
            value = 1.0 if place == 0 else found["rank_correlations"][place - 1][0]
            shown = "all zero" if value is None else f"rank correlation {number(value)}"
            alt = f"Map of {stem} with {plural(place, 'layer')} untrained: {shown} with the trained one."
            row.append((f"cascade-{index + 1}-{place}", heat(values), f"{text}: {number(value)}", alt))
        caption = f"{name}, {stem}: the layers untrained from the last one on to the one named, and rank correlation."
        blocks.append(files.pictures(f"cascade-{index + 1}", [row], caption=caption))
        blocks.append(_plot(found, name, files, f"cascade-curve-{index + 1}"))
    return Section(
        "randomization",
        "Question 2",
        TITLE,
        idea=[
            "A map that looks the same when the network has forgotten all it knew shows the picture's edges, not the "
            "network's reasons. So the layers are thrown back to random weights, from the last one to the first, and "
            "the map is computed again after each. It should change."
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            "Cascading randomization (Adebayo et al. 2018, arXiv:1810.03292): kernels are drawn from a normal "
            "distribution of mean 0 and of the layer's own deviation, biases become 0. Spearman's rank correlation of "
            "absolute gradients, as the maps are; a map of zeros has none and is left out of the mean."
        ],
        limits=[
            "A low correlation says that the map depends on the weights. It does not say that the map of the trained "
            "network is right."
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, found in numbers["networks"].items():
        means = [mean(each) for each in found["rank_correlations"]]
        zero = sum(value is None for each in found["rank_correlations"] for value in each)
        note = (
            f" {plural(zero, 'map')} of {sum(map(len, found['rank_correlations']))} came out as zeros." if zero else ""
        )
        first, last = means[0], means[-1]
        if first is None or last is None:
            sentences.append(f"{name}: with untrained layers the score is dead, so there is no map to compare.{note}")
            continue
        verdict = (
            "The maps depend on what was learned."
            if last < 0.3
            else "Part of what the maps show is there without any training: the picture's own structure."
            if last < 0.6
            else "The maps hardly depend on what was learned: they show the picture, not the network."
        )
        sentences.append(
            f"{name}: the mean rank correlation with the trained network's map is {number(first)} when the last layer "
            f"alone is untrained, and {number(last)} when all {len(means)} are. {verdict}{note}"
        )
    return sentences


def _plot(found: dict[str, Any], name: str, files: Files, file: str) -> Plots:
    means = [mean(each) for each in found["rank_correlations"]]
    values = [1.0, *(np.nan if value is None else value for value in means)]
    labels = ("layers untrained, from the last one on", "mean rank correlation")

    def draw(axes: Any, palette: Any) -> None:
        partial(curves, x=range(len(values)), lines={"": values}, labels=labels, marked=True)(axes, palette)
        axes.axhline(0, color=palette.ink, linewidth=0.8)
        axes.set_ylim(min(-0.1, np.nanmin(values) - 0.05), 1.05)

    steps = ", ".join(f"{layer} {number(value)}" for layer, value in zip(found["layers"], means, strict=True))
    alt = f"Mean rank correlation with the map of the trained {name}, starting at 1; after {steps}."
    return Plots(f"{name}: mean over the photographs.", [files.plot(file, draw, alt=alt)])
