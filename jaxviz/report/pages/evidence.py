"""The page of `measurements.evidence`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from jaxviz.report import _formulas
from jaxviz.report._blocks import Files, Plots, Section, Table, Text
from jaxviz.report._plots import curves
from jaxviz.report._study import Study
from jaxviz.report._text import listed, mean, number, of, plural
from jaxviz.report.measurements.evidence import CONTROLS, MAPS, TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks: list[Any] = [_formulas.LINEAR]
    for index, name in enumerate(numbers["networks"]):
        blocks.append(_tangent_plot(numbers, name, files, f"tangent-{index + 1}"))
    blocks.append(
        Text(
            "A map can also be put to the test: remove the pixels that it calls important, the most important first, "
            "and see how fast the probability falls (deletion); or put them into an empty picture, and see how fast it "
            "rises (insertion). A good map has a small area under the first curve and a large one under the second. "
            "Two orders that know nothing of the network are the controls: from the centre outwards, and at random."
        )
    )
    for index, name in enumerate(numbers["networks"]):
        blocks.append(_curve_plots(numbers, name, files, f"-{index + 1}"))
    blocks.append(_area_table(numbers))
    return Section(
        "evidence",
        "Question 2",
        TITLE,
        idea=[
            "The gradient is the slope of the score at one point. It foretells the score near this picture as a "
            "straight line, the tangent. How near is near? And does a map that was made of slopes find the pixels that "
            "the answer depends on when they are really taken away?"
        ],
        finding=[*tangent_findings(numbers), *curve_findings(numbers)],
        blocks=blocks,
        method=[
            "Tangent: the photograph is moved along its own gradient by a Euclidean distance t in normalized input "
            "space, without regard to the valid range of pixels.",
            f"Deletion and insertion: {plural(numbers['num_steps'], 'step')} of equally many pixels; what is removed "
            "becomes the mean colour; the area is in 0 to 1, by trapezoids. Means over the photographs are drawn.",
        ],
        limits=[
            "A picture with holes is unlike anything that the network was trained on. A falling probability may come "
            "from the holes themselves, which is why the controls are there: read differences between the orders only.",
        ],
    )


def tangent_findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences, distances = [], numbers["distances"][1:]
    for name, found in numbers["networks"].items():
        middle = np.median(realized(found["tangent"], numbers["distances"]), axis=0)
        good = [t for t, share in zip(distances, middle, strict=True) if abs(share - 1) <= 0.25]
        near = distances[: next((i for i, t in enumerate(distances) if t not in good), len(distances))]
        sentences.append(
            (
                f"{name}: the tangent foretells the gain of the score to within a quarter as far as t = {near[-1]:g}"
                if near
                else f"{name}: the tangent is off by more than a quarter already at t = {distances[0]:g}"
            )
            + f"; at t = {distances[-1]:g} the score has gained {number(100 * middle[-1], 0)} % of what it foretells "
            f"(median over the photographs). One step of the fooling method below is 0.5 long."
        )
    return sentences


def realized(tangent: dict[str, Any], distances: Sequence[float | int]) -> np.ndarray:
    """The score's gain over what its tangent foretells, (n, t), at all distances but the first, 0."""
    scores, slopes = np.asarray(tangent["scores"]), np.asarray(tangent["slopes"])
    return (scores[:, 1:] - scores[:, :1]) / np.maximum(slopes[:, None] * np.asarray(distances)[None, 1:], 1e-9)


def curve_findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, found in numbers["networks"].items():
        for kind, better in (("deletion", min), ("insertion", max)):
            areas = {order: mean(each["areas"]) or 0.0 for order, each in found[kind].items()}
            maps, controls = ({order: areas[order] for order in orders} for orders in (MAPS, CONTROLS))
            best = better(maps, key=lambda order, maps=maps: maps[order])
            control = better(controls, key=lambda order, controls=controls: controls[order])
            beats = [order for order in maps if better(maps[order], controls[control]) != controls[control]]
            wins = sum(
                better(mine, theirs) != theirs
                for mine, theirs in zip(found[kind][best]["areas"], found[kind][control]["areas"], strict=True)
            )
            verdict = (
                f"{listed(beats)} {'does' if len(beats) == 1 else 'do'} better than both controls on average"
                if beats
                else "no map does better than the better control on average"
            )
            word = "smallest" if better is min else "largest"
            sentences.append(
                f"{name}, {kind}: {verdict}. The {word} area of a map is {number(areas[best])} ({best}); the better "
                f"control, {control}, has {number(areas[control])}, and {best} beats it for "
                f"{of(wins, len(found[kind][best]['areas']))}."
            )
    return sentences


def _tangent_plot(numbers: dict[str, Any], name: str, files: Files, file: str) -> Plots:
    found, distances = numbers["networks"][name]["tangent"], np.asarray(numbers["distances"])[1:]
    share = 100 * realized(found, numbers["distances"])

    def draw(axes: Any, palette: Any) -> None:
        lines = {
            "foretold by the tangent": np.full(len(distances), 100),
            "the network, median": np.median(share, axis=0),
        }
        labels = ("distance t along the gradient", "gain of the score, % of what is foretold")
        curves(axes, palette, distances, lines, labels=labels)
        for row in share:
            axes.plot(distances, row, color=palette.lines[1], alpha=0.4, linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_xticks(distances, [f"{t:g}" for t in distances])

    middle = np.median(share, axis=0)
    alt = (
        f"Gain of the score along the gradient as a share of what the tangent foretells, {name}: "
        + listed(f"{number(value, 0)} % at t = {t:g}" for t, value in zip(distances, middle, strict=True))
        + "."
    )
    caption = f"{name}: how long the score follows its tangent. Thin lines: each photograph."
    return Plots(caption, [files.plot(file, draw, alt=alt)])


def _curve_plots(numbers: dict[str, Any], name: str, files: Files, suffix: str) -> Plots:
    panels, steps = [], np.linspace(0, 100, numbers["num_steps"] + 1)
    for kind, verb in (("deletion", "removed"), ("insertion", "put in")):
        found = numbers["networks"][name][kind]
        lines = {order: np.mean(each["probabilities"], axis=0) for order, each in found.items()}
        draw = partial(curves, x=steps, lines=lines, labels=(f"pixels {verb}, %", "mean probability"))
        areas = listed(f"{order} {number(mean(each['areas']))}" for order, each in found.items())
        alt = f"{kind.capitalize()} curves of {name}. Mean areas: {areas}."
        panels.append(files.plot(f"{kind}{suffix}", draw, alt=alt))
    return Plots(f"{name}: deletion (left, lower is better) and insertion (right, higher is better).", panels)


def _area_table(numbers: dict[str, Any]) -> Table:
    rows = [
        (order, name, *(number(mean(found[kind][order]["areas"]), 3) for kind in ("deletion", "insertion")))
        for name, found in numbers["networks"].items()
        for order in (*MAPS, *CONTROLS)
    ]
    return Table("Mean area under the curves.", ("order", "network", "deletion", "insertion"), rows)
