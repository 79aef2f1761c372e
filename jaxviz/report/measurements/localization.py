"""Question 3: another use of saliency, weak localization: where is the object, if nobody ever showed a box?"""

from collections.abc import Mapping

import numpy as np

from jaxviz import images
from jaxviz.report._measures import central_box, inside
from jaxviz.report._plots import outlined
from jaxviz.report._study import Measured, Study, Tick

TITLE = "Another use: finding the object"
_GREY = np.round(255 * np.asarray(images.IMAGENET_MEAN)).astype(np.uint8)
PICTURES = ("inside alone", "without it", "central box alone", "without the central box")


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return len(study.networks)


def measure(study: Study, done: Mapping[str, Measured], *, tick: Tick) -> Measured:
    """Whether the class is in the box that the map gives, and whether it is in one of that size in the middle."""
    labels = [each["index"] for each in done["photographs"].numbers["explained"]]
    networks, arrays = {}, {}
    for network in study.networks:
        boxes = [each["box"] for each in done["saliency"].numbers["networks"][network.name]]
        rows, shown = [], []
        for picture, box in zip(study.pixels, boxes, strict=True):
            middle = central_box(box, picture.shape)
            for mask in (inside(picture.shape, box), inside(picture.shape, middle)):
                rows += [np.where(mask[..., None], picture, _GREY), np.where(mask[..., None], _GREY, picture)]
            shown.append([outlined(picture, box), *rows[-4:-2]])
        probabilities = study.probabilities(network, [*study.pixels, *rows])
        whole, rest = probabilities[: len(boxes)], probabilities[len(boxes) :].reshape(len(boxes), 4, -1)
        networks[network.name] = [
            {
                "box": box,
                "whole": {"probability": float(all_of_it[label]), "first": bool(all_of_it.argmax() == label)},
                **{
                    name: {"probability": float(values[label]), "first": bool(values.argmax() == label)}
                    for name, values in zip(PICTURES, parts_of_it, strict=True)
                },
            }
            for box, label, all_of_it, parts_of_it in zip(boxes, labels, whole, rest, strict=True)
        ]
        arrays[network.name] = shown
        tick(network.name)
    share, explained = done["saliency"].numbers["share"], done["photographs"].numbers["explained"]
    return Measured({"share": share, "explained": explained, "networks": networks}, arrays)
