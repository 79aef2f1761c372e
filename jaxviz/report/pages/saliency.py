"""The page of `measurements.saliency`."""

from typing import Any

from jaxviz.report import _formulas
from jaxviz.report._blocks import Files, Section
from jaxviz.report._plots import heat
from jaxviz.report._study import Study
from jaxviz.report._text import listed, of, percent
from jaxviz.report.measurements.saliency import TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks: list[Any] = [_formulas.SALIENCY]
    for index, network in enumerate(study.networks):
        above, below = [], []
        for photograph, explained, values, found in zip(
            study.photographs,
            numbers["explained"],
            arrays[network.name],
            numbers["networks"][network.name],
            strict=True,
        ):
            stem, name = photograph.stem, explained["name"]
            where = place(found["box"], values.shape)
            above.append((f"photo-{stem}", photograph.pixels, f"{stem}", f"The photograph {stem}."))
            text = f"score of {name}: half of it in {percent(found['box_area'])} of the area"
            alt = (
                f"Saliency map of {stem} for the class {name}: bright specks on black. Half of its sum lies {where}, "
                f"in {percent(found['box_area'])} of the picture; the brightest hundredth of the pixels holds "
                f"{percent(found['share_of_brightest_percent'])}."
            )
            below.append((f"saliency-{index + 1}-{stem}", heat(values), text, alt))
        blocks.append(files.pictures(f"saliency-{index + 1}", [above, below], caption=f"{network.name}."))
    return Section(
        "saliency",
        "Question 1",
        TITLE,
        idea=[
            "Which pixels does the network look at? Take the score of one class and ask of every pixel: if it "
            "changed a very little, how much would the score change? The answer is the gradient of the score with "
            "respect to the picture, three numbers for each pixel, one for each colour. The map shows the largest of "
            "the three without its sign. A bright pixel matters; a black one could change without any effect.",
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            "One forward and one backward pass for each map. The score is the raw one, before softmax: a probability "
            "also rises when other classes fall, and the map would mix the two. Black is 0, white begins at the 99.5th "
            "percentile of each map, so two maps do not share a scale.",
        ],
        limits=[
            "The map says which pixels matter, not why, not in which direction, and not which matter together. A "
            "region that the network has already made up its mind about can be dark. The next section measures these "
            "limits.",
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, found in numbers["networks"].items():
        even = numbers["share"]  # of a map that is everywhere the same
        focused = [each["box_area"] < even / 2 for each in found]
        stems = [
            f"{percent(each['box_area'])} for {explained['name']}"
            for each, explained in zip(found, numbers["explained"], strict=True)
        ]
        sentences.append(
            f"{name}: {percent(even)} of a map's sum lies in a box of this share of the area: {listed(stems)}. A map "
            f"without any focus would need {percent(even)} of the area; {of(sum(focused), len(focused))} need less "
            "than half of that."
        )
        if not any(focused):
            sentences[-1] += " So these maps point at a region only vaguely."
    return sentences


def place(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> str:
    """Where the middle of a box is, such as "at the upper left" or "in the middle"."""
    row, column = ((box[0] + box[2]) / 2 / shape[0], (box[1] + box[3]) / 2 / shape[1])
    vertical = "upper" if row < 0.4 else "lower" if row > 0.6 else ""
    horizontal = "left" if column < 0.4 else "right" if column > 0.6 else ""
    if not vertical and not horizontal:
        return "in the middle"
    return f"at the {' '.join(filter(None, (vertical, horizontal)))}" + ("" if horizontal else " edge")
