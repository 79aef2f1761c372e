"""The page of `measurements.survival`."""

from functools import partial
from typing import Any

import numpy as np

from jaxviz.report._blocks import Files, Plots, Section, Table
from jaxviz.report._plots import shares
from jaxviz.report._study import Study
from jaxviz.report._text import listed, number, of, percent
from jaxviz.report.measurements.survival import CONTROL, KINDS, TITLE, TRANSFORMATIONS


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks: list[Any] = []
    columns = tuple(TRANSFORMATIONS)
    for index, (name, found) in enumerate(numbers["networks"].items()):
        values = np.array(
            [[each["kept"][c] / each["runs"] if each["runs"] else np.nan for c in columns] for each in found.values()]
        )
        draw = partial(shares, values=values, rows=[*map(_short, found)], columns=columns)
        rows = [(kind, *(f"{each['kept'][c]} of {each['runs']}" for c in columns)) for kind, each in found.items()]
        alt = f"Share that survives, {name}. " + " ".join(
            f"{kind}: {', '.join(f'{c} {each[0]}' for c, *each in zip(columns, cells, strict=True))}."
            for kind, *cells in rows
        )
        plot = files.plot(f"survival-{index + 1}", draw, alt=alt, wide=True)
        blocks.append(Plots(f"{name}: share that survives each transformation.", [plot], wide=True))
        blocks.append(Table(f"{name}: how many survive.", ("", *columns), rows))
    return Section(
        "survival",
        "Question 6",
        TITLE,
        idea=[
            "Security: whoever can choose the pixels can choose the answer, so a filter, a gate or a car that trusts a "
            "classifier can be deceived. Robustness: is that only true of exact numbers in a computer, or does it "
            "survive a save, a JPEG, a movement of one pixel? Generalization: a network that a change without meaning "
            "turns around has learned something else than what people see, however good it is on its test pictures.",
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            "Only runs that reached their target count. Three ways to fool: stopping at once with exact numbers, which "
            "are rounded when the picture is saved; stopping at once on the rounded picture; and driving on until the "
            f"target has a probability of {percent(numbers['confidence'])}. JPEG by Pillow with its usual subsampling; "
            "the shift is down and to the right. The photographs themselves are the control: a transformation that "
            "changes their class, too, tells nothing about fooling."
        ],
        limits=[
            "A print that is photographed, another size, another light: none of that is measured. An attacker who "
            "knows the transformation can build it into the loop, and would then survive it; these figures are a "
            "lower limit."
        ],
    )


def _short(kind: str) -> str:
    return kind.replace(", ", ",\n").replace(" (", "\n(")


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, found in numbers["networks"].items():
        naive, rounded, driven = (found[kind] for kind in KINDS)
        control = found[CONTROL]
        if not rounded["runs"]:
            sentences.append(f"{name}: no run reached its target, so there is nothing that could survive.")
            continue
        fragile = [c for c in TRANSFORMATIONS if c != "8-bit save" and 2 * rounded["kept"][c] < rounded["runs"]]
        sturdy = [c for c in TRANSFORMATIONS if c != "8-bit save" and 2 * rounded["kept"][c] >= rounded["runs"]]
        text = f"{name}: "
        if naive["runs"]:
            text += (
                f"stopped at once with exact numbers, {of(naive['kept']['8-bit save'], naive['runs'])} survive the "
                "save as an 8-bit picture; "
            )
        text += (
            f"tested on the rounded picture, {of(rounded['kept']['8-bit save'], rounded['runs'])} do. Of these, after "
            f"JPEG of quality 75 {of(rounded['kept']['JPEG 75'], rounded['runs'])} are left, after a shift of one "
            f"pixel {of(rounded['kept']['1 px shift'], rounded['runs'])}."
        )
        sentences.append(text)
        if fragile and not sturdy:
            sentences.append(
                "So a fooling image that has just reached its target does not survive any of the transformations in "
                "most cases."
            )
        elif fragile:
            sentences.append(f"Most do not survive {listed(fragile)}; at least half survive {listed(sturdy)}.")
        else:
            sentences.append("At least half survive every transformation: here fooling is robust.")
        if driven["runs"]:
            shares_ = [sum(each["kept"][c] for c in TRANSFORMATIONS) / each["runs"] for each in (rounded, driven)]
            word = "more" if shares_[1] > shares_[0] + 0.2 else "fewer" if shares_[1] < shares_[0] - 0.2 else "no more"
            sentences.append(
                f"Driven on to {percent(numbers['confidence'])}, with changes of {number(driven['rms_levels'], 1)} "
                f"instead of {number(rounded['rms_levels'], 1)} levels, {word} survive: "
                f"{of(driven['kept']['JPEG 75'], driven['runs'])} after JPEG 75, "
                f"{of(driven['kept']['1 px shift'], driven['runs'])} after the shift."
            )
        least = min(control["kept"], key=lambda c: control["kept"][c])
        sentences.append(
            "The photographs themselves keep their class under every transformation."
            if control["kept"][least] == control["runs"]
            else f"The photographs themselves keep their class in {of(control['kept'][least], control['runs'])} at "
            f"worst ({least})."
        )
    return sentences
