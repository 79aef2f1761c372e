"""Question 3: another use of saliency maps, weak localization. Is the object inside the box of the map?"""

import numpy as np

from jaxviz import images
from jaxviz.report.drawing import outlined
from jaxviz.report.metrics import central_box
from jaxviz.report.text import percent

TITLE = "Another use: finding the object"
PAGES = {"localization": ("Question 3", TITLE)}
_GREY = np.round(255 * np.asarray(images.IMAGENET_MEAN)).astype(np.uint8)
_KINDS = ("whole", "inside", "outside", "inside_central_box", "outside_central_box")


def measure(study, network, done):
    """The probability of the class inside and outside the map's box, and a box of that size in the middle."""
    records, shown = [], []
    boxes = [record["box"] for record in done["saliency"].numbers[network.name]]
    for pixels, label, box in zip(study.pixels, study.labels(done), boxes, strict=True):
        pictures = [pixels]
        for top, left, bottom, right in (box, central_box(box, pixels.shape)):
            inside, outside = np.broadcast_to(_GREY, pixels.shape).copy(), pixels.copy()
            inside[top:bottom, left:right], outside[top:bottom, left:right] = pixels[top:bottom, left:right], _GREY
            pictures += [inside, outside]
        probabilities = study.probabilities(network, pictures)
        records.append({"box": box})
        for kind, values in zip(_KINDS, probabilities, strict=True):
            records[-1][kind] = {"probability": float(values[label]), "is_top": bool(values.argmax() == label)}
        shown.append([outlined(pixels, box), *pictures[1:3]])
    return records, shown


def figures(study, network, numbers, shown, draw):
    """The photographs with the box, the pixels inside it, and those outside."""
    rows = {"photograph with the box": [], "pixels inside the box": [], "pixels outside the box": []}
    for photo, record, pictures in zip(study.photos, numbers, shown, strict=True):
        top, left, bottom, right = record["box"]
        captions = [f"{photo.name}: rows {top} to {bottom}, columns {left} to {right}"]
        captions += [f"{kind}: {percent(record[kind]['probability'])}" for kind in ("inside", "outside")]
        for row, pixels, caption in zip(rows.values(), pictures, captions, strict=True):
            row.append((pixels, caption))
    return {"boxes": draw.pictures("box", rows)}
