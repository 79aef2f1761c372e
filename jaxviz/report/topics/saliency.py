"""Question 1: saliency maps."""

import numpy as np

from jaxviz import saliency_maps
from jaxviz.figures import saliency_picture
from jaxviz.report.drawing import Picture
from jaxviz.report.metrics import area_share, smallest_box
from jaxviz.report.study import normalized
from jaxviz.report.text import percent

TITLE = "Saliency maps"
PAGES = {"saliency": ("Question 1", TITLE)}


def measure(study, network, done, *, share: float = 0.5, cell: int = 8):
    """A map of each photograph, and the smallest box that holds a share of its sum."""
    maps = study.run(saliency_maps, network.model, normalized(study.pixels), study.labels(done))
    records = []
    for values in maps:
        box = smallest_box(values, share=share, cell=cell)
        brightest = np.sort(values.ravel())[-values.size // 100 :].sum() / (values.sum() or 1)
        record = {"largest": float(values.max()), "box": box, "box_area": area_share(box, values.shape)}
        records.append({**record, "share_of_brightest_percent": float(brightest)})
    return records, maps


def figures(study, network, numbers, maps, draw):
    """The photographs above their maps."""
    rows = [[], []]
    for photo, record, values in zip(study.photos, numbers, maps, strict=True):
        area = percent(record["box_area"])
        alt = (
            f"Saliency map of {photo.name}: bright points on black. Half of its sum is {_place(record, values.shape)}, "
            f"in {area} of the picture; the brightest 1 % of the pixels have "
            f"{percent(record['share_of_brightest_percent'])} of it."
        )
        rows[0].append(Picture(f"photo-{photo.name}", photo.pixels, photo.name, f"The photograph {photo.name}."))
        caption = f"half of the sum in {area} of the area"
        rows[1].append(Picture(f"saliency-{draw.number}-{photo.name}", saliency_picture(values), caption, alt))
    return {"maps": draw.pictures("saliency", rows)}


def _place(record, shape) -> str:
    """Where the middle of the box is, such as "at the upper left" or "in the middle"."""
    top, left, bottom, right = record["box"]
    row, column = (top + bottom) / 2 / shape[0], (left + right) / 2 / shape[1]
    vertical = "upper" if row < 0.4 else "lower" if row > 0.6 else ""
    horizontal = "left" if column < 0.4 else "right" if column > 0.6 else ""
    if not vertical and not horizontal:
        return "in the middle"
    return f"at the {' '.join(filter(None, (vertical, horizontal)))}" + ("" if horizontal else " edge")
