"""Question 1: saliency maps."""

import numpy as np

from jaxviz import saliency_maps
from jaxviz.figures import saliency_picture
from jaxviz.report.metrics import smallest_box
from jaxviz.report.study import normalized
from jaxviz.report.text import percent

TITLE = "Saliency maps"
PAGES = {"saliency": ("Question 1", TITLE)}


def measure(study, network, done, *, share: float = 0.5, cell: int = 8):
    """A map of each photograph, and the smallest box that holds a share of its sum."""
    maps = study.run(saliency_maps, network.model, normalized(study.pixels), study.labels(done))
    records = []
    for values in maps:
        top, left, bottom, right = box = smallest_box(values, share=share, cell=cell)
        brightest = np.sort(values.ravel())[-values.size // 100 :].sum() / (values.sum() or 1)
        record = {"largest": float(values.max()), "share_of_brightest_percent": float(brightest)}
        records.append({**record, "box": box, "box_area": (bottom - top) * (right - left) / values.size})
    return records, maps


def figures(study, network, numbers, maps, draw):
    """The photographs above their maps."""
    captions = [
        f"half of the sum in {percent(record['box_area'])} of the area, "
        f"{percent(record['share_of_brightest_percent'])} in the brightest 1 % of the pixels"
        for record in numbers
    ]
    rows = {"photograph": study.captioned, "saliency map": zip(map(saliency_picture, maps), captions, strict=True)}
    return {"maps": draw.pictures("saliency", rows)}
