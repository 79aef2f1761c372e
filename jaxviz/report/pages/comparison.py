"""The page of `measurements.comparison`."""

from typing import Any

from jaxviz.report._blocks import Files, Section, Table
from jaxviz.report._plots import heat
from jaxviz.report._study import Study
from jaxviz.report._text import listed, mean, number, percent
from jaxviz.report.measurements.comparison import TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks: list[Any] = []
    if numbers["pairs"]:
        rows = [
            [
                (f"photo-{each.stem}", each.pixels, each.stem, f"The photograph {each.stem}.")
                for each in study.photographs
            ]
        ]
        for index, name in enumerate(numbers["networks"]):
            rough = numbers["noise"][name]["roughness"]
            rows.append(
                [
                    (
                        f"saliency-{index + 1}-{each.stem}",
                        heat(values),
                        name,
                        f"Map of {each.stem}, {name}, mean roughness {number(rough)}.",
                    )
                    for each, values in zip(study.photographs, arrays[name], strict=True)
                ]
            )
        blocks.append(
            files.pictures("comparison", rows, caption="The same photographs, the same classes, each network's map.")
        )
        blocks.append(
            Table(
                "Agreement of the networks, means over the photographs.",
                (
                    "networks",
                    "rank correlation",
                    "blurred maps",
                    "blurred maps of different photographs",
                    "overlap of the boxes",
                ),
                [
                    (
                        listed(pair["networks"]),
                        *(number(mean(pair[key])) for key in ("fine", "coarse", "coarse_of_others")),
                        percent(mean(pair["box_overlap"]) or 0),
                    )
                    for pair in numbers["pairs"]
                ],
            )
        )
    return Section(
        "comparison",
        "Question 4",
        TITLE,
        idea=[
            "Two networks may give the same answer for different reasons. Their maps of the same photographs for the "
            "same classes show whether they look at the same places, and whose map is less noisy."
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            f"Rank correlation of the maps pixel by pixel, and after a Gaussian blur of {numbers['sigma']:g} pixels, "
            "which leaves the regions alone. Maps of different photographs are the control: what they share is not "
            "about what is in the picture. Overlap is intersection over union of the boxes of question 3."
        ]
        if numbers["pairs"]
        else [],
        limits=["Agreement is no proof: networks that were trained on the same pictures share their faults, too."],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    if not numbers["pairs"]:
        return [
            f"This report is of {numbers['networks'][0]} alone. Give a second network, such as --model "
            "squeezenet1_1 --model vgg16, and the maps are compared here."
        ]
    sentences = []
    for pair in numbers["pairs"]:
        a, b = pair["networks"]
        rough = [numbers["noise"][name]["roughness"] or 0.0 for name in (a, b)]
        steady = [numbers["noise"][name]["rank_correlation"] or 0.0 for name in (a, b)]
        smoother, steadier = (a if rough[0] <= rough[1] else b), (a if steady[0] >= steady[1] else b)
        clear = abs(rough[0] - rough[1]) > 0.05 * max(rough) and abs(steady[0] - steady[1]) > 0.02
        noise = (
            f"{smoother} has the less noisy maps: they are smoother and keep their order better"
            if clear and smoother == steadier
            else f"neither has clearly less noisy maps: those of {smoother} are smoother to look at, those of "
            f"{steadier} keep their order better"
            if smoother != steadier
            else "neither has clearly less noisy maps"
        )
        coarse, others = mean(pair["coarse"]), mean(pair["coarse_of_others"])
        regions = (
            f"blurred, the maps of the same photograph correlate with {number(coarse)}"
            if others is None
            else f"blurred, the maps of the same photograph correlate with {number(coarse)}, of different photographs "
            f"with {number(others)}: the networks look at "
            + ("the same regions" if (coarse or 0) > others + 0.1 else "no more alike regions than chance has it")
        )
        sentences.append(
            f"{a} and {b}: {noise} (roughness {number(rough[0])} and {number(rough[1])}, rank correlation under noise "
            f"{number(steady[0])} and {number(steady[1])}). Pixel by pixel they correlate with "
            f"{number(mean(pair['fine']))}; {regions}."
        )
    return sentences
