"""Question 3: another use of saliency maps, weak localization. Is the object inside the box of the map?"""

import numpy as np

from jaxviz import images
from jaxviz.report.drawing import Picture, outlined
from jaxviz.report.metrics import box_mask, central_box
from jaxviz.report.text import percent

TITLE = "Another use: finding the object"
PAGES = {"localization": ("Question 3", TITLE)}
_GREY = np.round(255 * np.asarray(images.IMAGENET_MEAN)).astype(np.uint8)
_KINDS = ("inside", "outside", "inside_central_box", "outside_central_box")


def measure(study, network, done):
    """The probability of the class inside and outside the map's box, and a box of that size in the middle."""
    records, shown = [], []
    boxes = [record["box"] for record in done["saliency"].numbers[network.name]]
    for photo, label, box in zip(study.photos, study.labels(done), boxes, strict=True):
        pictures = [photo.pixels]
        for mask in (box_mask(photo.pixels.shape, other) for other in (box, central_box(box, photo.pixels.shape))):
            pictures += [np.where(mask, photo.pixels, _GREY), np.where(mask, _GREY, photo.pixels)]
        kinds = dict(zip(("whole", *_KINDS), study.probabilities(network, pictures), strict=True))
        records.append(
            {
                "box": box,
                **{
                    kind: {"probability": float(values[label]), "is_top": bool(values.argmax() == label)}
                    for kind, values in kinds.items()
                },
            }
        )
        shown.append([outlined(photo.pixels, box), *pictures[1:3]])
    return records, shown


def figures(study, network, numbers, shown, draw):
    """The photographs with the box, the pixels inside it, and those outside."""
    rows = [[], [], []]
    for photo, record, pictures in zip(study.photos, numbers, shown, strict=True):
        inside, outside = (percent(record[kind]["probability"]) for kind in ("inside", "outside"))
        texts = (
            (f"{photo.name}: the box", f"{photo.name} with the box of half the map's sum, {record['box']} in pixels."),
            (f"inside: {inside}", f"{photo.name}, the pixels inside the box, the rest grey: probability {inside}."),
            (f"outside: {outside}", f"{photo.name}, the pixels outside the box, grey inside: probability {outside}."),
        )
        for place, (pixels, text) in enumerate(zip(pictures, texts, strict=True)):
            rows[place].append(Picture(f"box-{draw.number}-{place}-{photo.name}", pixels, *text))
    return {"boxes": draw.pictures("box", rows)}
