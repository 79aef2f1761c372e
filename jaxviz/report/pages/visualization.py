"""The pages of questions 8 and 10: what `measurements.visualization` climbed to."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxviz.report import _formulas
from jaxviz.report._blocks import Files, Film, Plots, Section
from jaxviz.report._plots import curves
from jaxviz.report._study import Study
from jaxviz.report._text import listed, number, percent, plural, sentence
from jaxviz.report.measurements.visualization import defaults

_STILLS = 6  # pictures of a sequence


def from_noise(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """Question 8."""
    name = study.networks[0].name
    runs, films = numbers["networks"][name], arrays[name]
    rows = defaults(runs, "noise")
    return Section(
        "visualization",
        "Question 8",
        "Class visualization from noise",
        idea=[
            "What has the network learned about a class? Start from noise and climb the score of the class by changing "
            "the picture, as if the network painted it. Small means keep the picture from turning into meaningless "
            "grain: it is shifted a little at random before every step, blurred now and then, kept within the range of "
            "pixels, and large values cost something."
        ],
        finding=climb_findings(numbers, name, rows),
        blocks=[
            _formulas.VISUALIZATION,
            *_climb(study, numbers, name, rows, films, files, "visualization"),
        ],
        method=[method(numbers)],
        limits=[
            "The picture shows what raises the score, not what the class looks like. Its probability is that of the "
            "network that it was made for. Another seed gives another picture.",
        ],
    )


def from_photograph(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """Question 10."""
    name = study.networks[0].name
    runs, films = numbers["networks"][name], arrays[name]
    rows = defaults(runs, None)
    blocks = _climb(study, numbers, name, rows, films, files, "transformation")
    for row in rows:
        run, count = runs[row], films.shape[1]
        places = sorted({round(place) for place in np.linspace(0, count - 1, min(_STILLS, count))})
        every, line = numbers["settings"]["snapshot_every"], []
        for place in places:
            alt = f"{run['start']} on its way to {run['target']['name']} after {plural(place * every, 'step')}."
            line.append((f"sequence-{row}-{place}", films[row][place], f"step {place * every}", alt))
        caption = f"{run['start']} to {run['target']['name']}, {name}."
        blocks.append(files.pictures(f"sequence-{row}", [line], caption=caption))
    return Section(
        "transformation",
        "Question 10",
        "Class visualization from a photograph",
        idea=[
            "The climb may start from a photograph instead of noise. The network then paints the class with what is "
            "already there, which shows which parts of the picture it can use."
        ],
        finding=climb_findings(numbers, name, rows),
        blocks=blocks,
        method=[method(numbers).replace("from normal noise", "from the first photograph")],
        limits=[
            "The start steers the result: other photographs end in other pictures of the same class. That the picture "
            "has changed much is no fooling; compare the small changes of question 5."
        ],
    )


def climb_findings(numbers: dict[str, Any], name: str, rows: list[int]) -> list[str]:
    """In sentences."""
    sentences = []
    for row in rows:
        run = numbers["networks"][name][row]
        scores, target = run["scores"], run["target"]["name"]
        gain = scores[-1] - scores[0]
        reach = next((i for i, s in enumerate(scores) if s - scores[0] >= 0.9 * gain), 0) if gain > 0 else None
        climbed = (
            f"the score climbs from {number(scores[0], 1)} to {number(scores[-1], 1)}"
            if gain > 0
            else f"the score does not climb ({number(scores[0], 1)} at first, {number(scores[-1], 1)} at the end)"
        )
        text = f"{target} from {run['start']}: {climbed} in {plural(len(scores), 'step')}"
        if reach is not None:
            text += f", nine tenths of it after {plural(reach, 'step')}"
        text += (
            f". {name} takes the result for {target}, with a probability of {percent(run['target']['probability'])}."
            if run["seen"]["index"] == run["target"]["index"]
            else f". {name} takes the result for {run['seen']['name']}, not for {target}."
        )
        for other, probability in run["judged_by_others"].items():
            text += f" {other} gives it {percent(probability)}."
        sentences.append(sentence(text))
    return sentences


def method(numbers: Mapping[str, Any]) -> str:
    """How a class was visualized."""
    s = numbers["settings"]
    return (
        f"η = {s['step_size']:g}, λ = {s['l2_weight']:g} on the unsquared norm, {plural(s['num_steps'], 'step')} from "
        f"normal noise; random shift by 0 to {s['max_jitter']} pixels on each axis, undone after the step; clipped to "
        f"the range of pixels; Gaussian blur of {s['blur_sigma']:g} pixels every {s['blur_every']} steps."
    )


def _climb(
    study: Study,
    numbers: dict[str, Any],
    name: str,
    rows: list[int],
    films: np.ndarray,
    files: Files,
    file: str,
) -> list[Any]:
    runs, every = numbers["networks"][name], numbers["settings"]["snapshot_every"]
    strips, links = [], {}
    for row in rows:
        run = runs[row]
        target, score = run["target"]["name"], number(run["scores"][-1], 1)
        text = f"{target} from {run['start']}: {percent(run['target']['probability'])}"
        alt = f"{target} from {run['start']}, by {name}: the picture at every {every}th step; score {score} at the end."
        strips.append(files.strip(f"{file}-{row}-frames", films[row], caption=text, alt=alt))
        links[target] = files.animation(f"{file}-{row}-animation", films[row], seconds=5.0, alt=alt)
        files.picture(f"{file}-{row}", films[row][-1], caption=text, alt=alt)
    steps = [f"step {place * every}" for place in range(films.shape[1])]
    caption = f"The climb of {name}, to play or to step through. As animated files: "
    lines = {f"{runs[row]['target']['name']} from {runs[row]['start']}": runs[row]["scores"] for row in rows}

    def draw(axes: Any, palette: Any) -> None:
        curves(axes, palette, np.arange(numbers["settings"]["num_steps"]), lines, labels=("step", "score of the class"))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=min(0, *(min(line) for line in lines.values())))

    alt = "Score over the steps: " + listed(
        f"{text} from {number(line[0], 1)} to {number(line[-1], 1)}" for text, line in lines.items()
    )
    columns = max(1, min(3, len(strips)))
    return [
        Film(caption, strips, steps, columns, links),
        Plots(f"{name}: the score at each step.", [files.plot(f"{file}-scores", draw, alt=alt + ".")]),
    ]
