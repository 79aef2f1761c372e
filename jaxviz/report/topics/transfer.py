"""Question 7: do the pictures that fool one network fool another? The transfer matrix."""

import string
from functools import partial

import numpy as np

from jaxviz.report.drawing import matrix

TITLE = "Does fooling transfer to another network?"
PAGES = {"transfer": ("Question 7", TITLE)}


def measure(study, network, done):
    """A row of the transfer matrix: this network evaluates the pictures that were made with each source model."""
    records = []
    originals = study.probabilities(network, study.pixels).argmax(-1)
    for kind, source, pictures, photo_index, targets in _pictures(study, done):
        if network.name == source or len(study.networks) > 1:
            predicted = study.probabilities(network, pictures).argmax(-1)
            records.append(
                {
                    "kind": kind,
                    "source_model": source,
                    "evaluation_model": network.name,
                    "runs": len(targets),
                    "target": int((predicted == targets).sum()),
                    "changed": int((predicted != originals[photo_index]).sum()),
                }
            )
    return records, None


def _pictures(study, done):
    """The fooling images and attacks so far: kind, source model, pictures, photo index and targets."""
    for source in (network.name for network in study.networks):
        runs = done["fooling"].numbers[source]["runs"]
        about = [run["photo_index"] for run in runs], np.array([run["target"]["index"] for run in runs])
        yield "first success", source, done["fooling"].arrays[source], *about
        yield "high confidence", source, done["robustness"].arrays[source], *about
    for source, attacks in done["attacks"].arrays.items():
        about = attacks["photo_index"], attacks["targets"]
        for attack, pictures in attacks["towards"].items():
            yield f"{attack}, size {attacks['sizes'][-1]:g}", source, pictures[-1], *about


def figures(study, network, numbers, arrays, draw):
    """The part of the matrix that this network evaluates."""
    if len(study.networks) == 1:
        return {}
    letters = dict(zip((other.name for other in study.networks), string.ascii_uppercase, strict=False))
    plot = partial(
        matrix,
        values=np.array([[record[key] / record["runs"] for key in ("target", "changed")] for record in numbers]),
        rows=[f"{record['kind']}, made with {letters[record['source_model']]}" for record in numbers],
        columns=["target predicted", "prediction changed"],
    )
    alt = f"Share of pictures that change the prediction of {network.name}: the numbers of the table below."
    return {"matrix": draw.plot("transfer", plot, alt=alt)}
