"""The page of `measurements.localization`."""

from typing import Any

from jaxviz.report._blocks import Files, Section, Table
from jaxviz.report._study import Study
from jaxviz.report._text import of, percent
from jaxviz.report.measurements.localization import PICTURES, TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    blocks, rows = [], []
    for index, (name, found) in enumerate(numbers["networks"].items()):
        grid: list[list[Any]] = [[], [], []]
        for photograph, explained, each, pictures in zip(
            study.photographs, numbers["explained"], found, arrays[name], strict=True
        ):
            stem, label = photograph.stem, explained["name"]
            texts = (
                (f"{stem}: the box", f"{stem} with the box of half the map's sum, {each['box']} in pixels."),
                *(
                    (
                        f"{word}: {label} {percent(each[kind]['probability'])}",
                        f"{stem}, {word} the box, the rest grey: {label} {percent(each[kind]['probability'])}.",
                    )
                    for word, kind in (("inside", "inside alone"), ("outside", "without it"))
                ),
            )
            for place, (picture, (text, alt)) in enumerate(zip(pictures, texts, strict=True)):
                grid[place].append((f"box-{index + 1}-{place}-{stem}", picture, text, alt))
            kinds = ("whole", *PICTURES)
            rows.append((stem, name, *(percent(each[kind]["probability"]) for kind in kinds)))
        blocks.append(files.pictures(f"box-{index + 1}", grid, caption=f"{name}: the box, what is in it, what is not."))
    columns = ("photograph", "network", "whole picture", *PICTURES)
    blocks.append(Table("Probability of the class.", columns, rows))
    return Section(
        "localization",
        "Question 3",
        TITLE,
        idea=[
            "Maps are good for more than looking. If the network finds an animal, its map should lie on the animal, "
            "although nobody ever told it where animals are: weak localization. The same look at a map finds faults "
            "(a network that looks at the background has learned the wrong thing), tells where to hide parts of "
            "pictures for training, and compares networks, as the next question does."
        ],
        finding=findings(numbers),
        blocks=blocks,
        method=[
            f"The box is the smallest one, on a grid of 8 pixels, that holds {percent(numbers['share'])} of the map's "
            "sum. Everything outside of it, or inside, becomes the mean colour, and the network is asked again. The "
            "control is a box of the same size in the middle, where photographers put things."
        ],
        limits=[
            "Where the object really is, nobody has marked here. What is measured is where the network finds its "
            "reasons; a box around the face of an animal may be right for that and wrong as an outline."
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    for name, found in numbers["networks"].items():
        total = len(found)
        kept, middle = (sum(each[kind]["first"] for each in found) for kind in ("inside alone", "central box alone"))
        lost, lost_middle = (
            sum(each["whole"]["first"] and not each[kind]["first"] for each in found)
            for kind in ("without it", "without the central box")
        )
        verdict = (
            "The map finds the object better than the middle does."
            if kept + lost > middle + lost_middle
            else "That is no better than the middle of the picture, so the map locates nothing here that a guess "
            "would not."
            if kept + lost < middle + lost_middle
            else "That is as good as the middle of the picture."
        )
        sentences.append(
            f"{name}: the box alone is enough for the class in {of(kept, total)}, the central box in "
            f"{of(middle, total)}. Without the box the class is lost in {of(lost, total)}, without the central one in "
            f"{of(lost_middle, total)}. {verdict}"
        )
    return sentences
