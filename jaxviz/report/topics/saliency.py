"""Question 1: saliency maps, and two other kinds of maps."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxviz import grad_cam, relu_rule, saliency_maps, split
from jaxviz.figures import cam_picture, saliency_picture
from jaxviz.report.metrics import smallest_box
from jaxviz.report.study import normalized
from jaxviz.report.text import percent

TITLE = "Saliency maps"
PAGES = {"saliency": ("Question 1", TITLE)}


def measure(study, network, done, *, share: float = 0.5, cell: int = 8):
    """A map of each photograph, and the smallest box that holds a share of its sum."""
    maps = maps_of(study, network, network.model, study.labels(done))
    records = []
    for values in maps["gradient"]:
        top, left, bottom, right = box = smallest_box(values, share=share, cell=cell)
        brightest = np.sort(values.ravel())[-values.size // 100 :].sum() / (values.sum() or 1)
        record = {"largest": float(values.max()), "share_of_brightest_percent": float(brightest)}
        records.append({**record, "box": box, "box_area": (bottom - top) * (right - left) / values.size})
    return records, maps


def maps_of(study, network, model, labels):
    """The maps of each kind, by its name."""
    images = normalized(study.pixels)
    parts = split(model, images[:1], network.cam_layer)
    kinds: dict[str, tuple[Callable[..., Any], Any]] = {
        "gradient": (saliency_maps, model),
        "guided backpropagation": (saliency_maps, relu_rule(model, "guided")),
        "Grad-CAM": (_cam, parts),
    }
    return {kind: study.run(method, subject, images, labels) for kind, (method, subject) in kinds.items()}


def _cam(parts, images, labels):
    features, head = parts
    return jax.image.resize(grad_cam(head, features(images), labels), images.shape[:3], "linear")


def figures(study, network, numbers, maps, draw):
    """The photographs above their maps."""
    captions = [
        f"half of the sum in {percent(record['box_area'])} of the area, "
        f"{percent(record['share_of_brightest_percent'])} in the brightest 1 % of the pixels"
        for record in numbers
    ]
    names = [photo.name for photo in study.photos]
    activations = map(cam_picture, study.pixels, maps["Grad-CAM"])
    rows = {
        "photograph": study.captioned,
        "saliency map": zip(map(saliency_picture, maps["gradient"]), captions, strict=True),
        "guided backpropagation": zip(map(saliency_picture, maps["guided backpropagation"]), names, strict=True),
        f"Grad-CAM of {network.cam_layer}": zip(activations, names, strict=True),
    }
    return {"maps": draw.pictures("saliency", rows)}
