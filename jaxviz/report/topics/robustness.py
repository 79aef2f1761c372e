"""Question 6: consequences. Does a fooling image still fool after it is saved, shifted or blurred?"""

from functools import partial
from statistics import median

import numpy as np

from jaxviz import images
from jaxviz.report.drawing import matrix
from jaxviz.report.metrics import blurred, jpeg, perturbation_size, shifted
from jaxviz.report.topics.fooling import fool

TITLE = "Consequences: is fooling robust?"
PAGES = {"robustness": ("Question 6", TITLE)}
TRANSFORMATIONS = {
    "8-bit save": lambda picture: picture,
    "JPEG 95": partial(jpeg, quality=95),
    "JPEG 85": partial(jpeg, quality=85),
    "JPEG 75": partial(jpeg, quality=75),
    "JPEG 50": partial(jpeg, quality=50),
    "1 px shift": partial(shifted, rows=1, columns=1),
    "blur 0.5 px": partial(blurred, sigma=0.5),
    "blur 1 px": partial(blurred, sigma=1.0),
}
KINDS = ("first success, unrounded", "first success, 8-bit", "high confidence, 8-bit")
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
    numbers = {CONTROL: _kept(study, network, study.pixels, originals, np.full(len(originals), True))}
    for kind, made, success in zip(KINDS, pictures, reached, strict=True):
        sizes = [perturbation_size(study.pixels[i], picture) for i, picture in zip(photo_index, made, strict=True)]
        rms = median(size["rms_change_in_levels"] or 0.0 for size in sizes)
        numbers[kind] = {**_kept(study, network, made, targets, success), "rms_change_in_levels": rms}
    return numbers, rounded[1]


def _kept(study, network, pictures, classes, counted):
    """How many of the counted pictures are in their class after each transformation."""
    kept = {
        name: int(((transformed_predictions(study, network, pictures, name) == classes) & counted).sum())
        for name in TRANSFORMATIONS
    }
    return {"runs": int(np.sum(counted)), "kept": kept}


def transformed_predictions(study, network, pictures, name: str) -> np.ndarray:
    """The predicted class of each picture (n, h, w, 3) after the transformation of this name."""
    transformed = np.stack([TRANSFORMATIONS[name](picture) for picture in pictures])
    return study.probabilities(network, transformed).argmax(-1)


def figures(study, network, numbers, arrays, draw):
    """The shares as a matrix of kinds and transformations."""
    shares = [
        [record["kept"][name] / record["runs"] if record["runs"] else np.nan for name in TRANSFORMATIONS]
        for record in numbers.values()
    ]
    rows = [kind.replace(", ", ",\n").replace(" (", "\n(") for kind in numbers]
    plot = partial(matrix, values=np.array(shares), rows=rows, columns=list(TRANSFORMATIONS))
    alt = f"Share that stays in its class after each transformation, {network.name}: the numbers of the table below."
    return {"shares": draw.plot("robustness", plot, alt=alt, wide=True)}
