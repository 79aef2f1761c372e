"""The page of `measurements.photographs`."""

from typing import Any

from jaxviz.report._blocks import Files, Section, Table
from jaxviz.report._study import Study
from jaxviz.report._text import of, percent, plural
from jaxviz.report.measurements.photographs import TITLE


def section(study: Study, numbers: dict[str, Any], arrays: Any, files: Files) -> Section:
    """What was found, as a part of the page."""
    first = numbers["networks"][study.networks[0].name]
    row = []
    for photograph, found in zip(study.photographs, first, strict=True):
        best = found["classes"][0]
        text = f"{photograph.stem}: {best['name']}, {percent(best['probability'])}"
        alt = f"The photograph {photograph.stem}, cut to the square that the network sees."
        row.append((f"photo-{photograph.stem}", photograph.pixels, text, alt))
    grid = files.pictures("photographs", [row], caption=f"What {study.networks[0].name} is given.")
    rows = []
    for name, photographs in numbers["networks"].items():
        for stem, found in zip(numbers["stems"], photographs, strict=True):
            classes = ", ".join(f"{each['name']} {percent(each['probability'])}" for each in found["classes"])
            rows.append((stem, name, classes))
    return Section(
        "photographs",
        "To begin with",
        TITLE,
        idea=[
            "An image classifier is a function. It takes the numbers of a picture, three for each pixel, and returns "
            "one score for each of 1000 classes. The class with the highest score is its answer; a formula called "
            "softmax turns the scores into probabilities that add up to 1.",
            "The network here is finished: nothing below trains it or changes it. What is changed are the pictures. "
            "The tool is always the gradient: how much does a score change when a pixel changes a little?",
        ],
        finding=findings(numbers),
        blocks=[grid, Table("The most probable classes.", ("photograph", "network", "classes"), rows)],
        method=[
            "Each photograph is scaled, its centre is cut out, and its values are normalized with the mean and the "
            "deviation of ImageNet, as in the training of these networks. Everything that follows works on this square."
        ],
        limits=[
            "A probability is the network's confidence, not a chance of being right. The network has to choose among "
            "its 1000 classes, even for a picture of something that is none of them."
        ],
    )


def findings(numbers: dict[str, Any]) -> list[str]:
    """In sentences."""
    sentences = []
    given = [explained for explained in numbers["explained"] if explained["given"]]
    for name, photographs in numbers["networks"].items():
        best = [found["classes"][0] for found in photographs]
        text = f"{name} is most certain of {max(best, key=lambda each: each['probability'])['name']} "
        text += f"({percent(max(each['probability'] for each in best))}) and least certain of "
        text += f"{min(best, key=lambda each: each['probability'])['name']} "
        text += f"({percent(min(each['probability'] for each in best))})."
        if len(best) == 1:
            text = f"{name} sees {best[0]['name']} ({percent(best[0]['probability'])})."
        if given:
            pairs = zip(numbers["explained"], best, strict=True)
            right = sum(explained["given"] and explained["index"] == each["index"] for explained, each in pairs)
            text += f" It gives the class that you said to {of(right, len(given))}."
        dead = max(found["dead_classes"] for found in photographs)
        if dead:
            text += (
                f" Up to {plural(dead, 'class', 'classes')} of the 1000 have a score of exactly 0 for one photograph: "
                f"they are dead there, and no small step can wake them."
            )
        sentences.append(text)
    return sentences
