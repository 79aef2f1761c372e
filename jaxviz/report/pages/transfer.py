"""The page of `measurements.transfer`."""

import string
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from jaxviz.report._blocks import Files, Plots, Section, Table
from jaxviz.report._plots import shares
from jaxviz.report._study import Study
from jaxviz.report._text import listed, of
from jaxviz.report.measurements.transfer import TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks: list[Any] = []
    if len(numbers["networks"]) > 1:
        rows = list(dict.fromkeys((each["kind"], each["made_for"]) for each in numbers["found"]))
        letters = dict(zip(numbers["networks"], string.ascii_uppercase, strict=False))
        panels = []
        for key, says in (("target", "sees the target"), ("changed", "answers otherwise than for the photograph")):
            cells = [[_one(numbers, *row, judge) for judge in letters] for row in rows]
            draw = partial(
                shares,
                values=np.array([[each[key] / each["runs"] for each in line] for line in cells]),
                rows=[f"{kind}, for {letters[source]}" for kind, source in rows],
                columns=[f"judged by {letter}" for letter in letters.values()],
            )
            alt = f"Share of pictures for which the network of the column {says}: the figures of the table below."
            panels.append(files.plot(f"transfer-{key}", draw, alt=alt))
        who = listed(f"{letter} is {name}" for name, letter in letters.items())
        caption = (
            f"How and for whom pictures were made, and who judges them. {who}. Left: the target is seen. Right: the "
        )
        blocks.append(Plots(f"{caption}answer has changed.", panels))
        blocks.append(
            Table(
                "Transfer: the target is seen / the answer has changed.",
                ("made", "for", *(f"judged by {name}" for name in numbers["networks"])),
                [
                    (kind, source, *(_cell(_one(numbers, kind, source, judge)) for judge in numbers["networks"]))
                    for kind, source in rows
                ],
            )
        )
    return Section(
        "transfer",
        "Question 7",
        TITLE,
        idea=[
            "An attacker who does not have the network at hand can attack another one and hope. Whether that works "
            "depends on how the picture was made: the least change that fools one network lies just behind that "
            "network's own border, and another network's border is elsewhere."
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            "The pictures of questions 5, 6 and 7, as 8-bit pictures, judged by every network. Answer otherwise means "
            "otherwise than that same network answers for the untouched photograph."
        ]
        if blocks
        else [],
        limits=[
            "A few networks and photographs give an impression, not a rate. Attacks that are built to transfer, "
            "against several networks at once, were not tried."
        ],
    )


def _one(numbers: Mapping[str, Any], kind: str, source: str, judge: str) -> dict[str, Any]:
    [found] = [
        each
        for each in numbers["found"]
        if (each["kind"], each["made_for"], each["judged_by"]) == (kind, source, judge)
    ]
    return found


def _cell(found: Mapping[str, Any]) -> str:
    return f"{found['target']} / {found['changed']} of {found['runs']}"


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    if len(numbers["networks"]) == 1:
        return [
            f"This report is of {numbers['networks'][0]} alone, so there is no other network to judge its pictures. "
            "Give a second one, such as --model squeezenet1_1 --model vgg16, and the matrix stands here."
        ]
    foreign = [each for each in numbers["found"] if each["made_for"] != each["judged_by"]]
    sentences = []
    for kind in dict.fromkeys(each["kind"] for each in foreign):
        mine = [each for each in foreign if each["kind"] == kind]
        total = sum(each["runs"] for each in mine)
        target, changed = (sum(each[key] for each in mine) for key in ("target", "changed"))
        verdict = (
            "the attack transfers"
            if 2 * target > total
            else "the target hardly transfers, but the answer is upset"
            if 2 * changed > total
            else "it hardly transfers"
        )
        sentences.append(
            f"{kind[0].upper()}{kind[1:]}: another network sees the target in {of(target, total)} cases and changes "
            f"its answer in {of(changed, total)}: {verdict}."
        )
    return [f"Judged by a network that they were not made for ({listed(numbers['networks'])}):", *sentences]
