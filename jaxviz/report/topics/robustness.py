"""Question 6: consequences. Does a fooling image still fool after it is saved, shifted or blurred?"""

from functools import partial
from statistics import median

import numpy as np

from jaxviz import images
from jaxviz.report.metrics import blurred, jpeg, perturbation_size, shifted
from jaxviz.report.topics.fooling import fool

TITLE = "Consequences: is fooling robust?"
PAGES = {"robustness": ("Question 6", TITLE)}
TRANSFORMATIONS = {
    "8-bit save": lambda picture: picture,
    **{f"JPEG {quality}": partial(jpeg, quality=quality) for quality in (95, 85, 75, 50)},
    "1 px shift": partial(shifted, rows=1, columns=1),
    "blur 0.5 px": partial(blurred, sigma=0.5),
    "blur 1 px": partial(blurred, sigma=1.0),
}
KINDS = ("first success, unrounded", "first success, 8-bit", "high confidence, 8-bit")
QUICK = {"confidence": 0.5}
CONTROL = "photograph (keeps its class)"
_UNROUNDED = 2**20  # levels: as fine as float32 pixels


def measure(study, network, done, *, confidence: float = 0.9, max_steps: int = 100):
    """How many pictures of each kind are still classified as the target after each transformation."""
    fooling = done["fooling"].numbers[network.name]
    photo_index = [run["photo_index"] for run in fooling["runs"]]
    targets = np.array([run["target"]["index"] for run in fooling["runs"]])
    settings = {"step_size": fooling["step_size"], "max_steps": max_steps}
    naive = fool(study, network, photo_index, targets, levels=_UNROUNDED, **settings)
    driven = fool(study, network, photo_index, targets, confidence=confidence, **settings)
    rounded = [np.asarray(images.to_uint8(result.images)) for result in (naive, driven)]
    pictures = (rounded[0], done["fooling"].arrays[network.name], rounded[1])
    reached = (naive.fooled, np.array([run["reached"] for run in fooling["runs"]]), driven.fooled)
    originals = study.probabilities(network, study.pixels).argmax(-1)
    numbers = {CONTROL: kept(study, network, study.pixels, originals, np.full(len(originals), True))}
    for kind, made, success in zip(KINDS, pictures, reached, strict=True):
        sizes = [perturbation_size(study.pixels[i], picture) for i, picture in zip(photo_index, made, strict=True)]
        rms = median(size["rms_change_in_levels"] or 0.0 for size in sizes)
        numbers[kind] = {**kept(study, network, made, targets, success), "rms_change_in_levels": rms}
    return numbers, rounded[1]


def kept(study, network, pictures, classes, counted):
    """How many of the counted pictures are in their class after each transformation."""
    counts = {}
    for name, transform in TRANSFORMATIONS.items():
        predicted = study.probabilities(network, [transform(picture) for picture in pictures]).argmax(-1)
        counts[name] = int(((predicted == classes) & counted).sum())
    return {"runs": int(np.sum(counted)), "kept": counts}
