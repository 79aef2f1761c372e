"""Question 7: do the pictures that fool one network fool another? The transfer matrix."""

import numpy as np

TITLE = "Does fooling transfer to another network?"
PAGES = {"transfer": ("Question 7", TITLE)}


def measure(study, network, done):
    """A row of the transfer matrix: this network evaluates the pictures that were made with each source model."""
    records = []
    originals = study.probabilities(network, study.pixels).argmax(-1)
    for kind, source, pictures, photo_index, targets in _pictures(study, done):
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
    for source, fooling in done["fooling"].numbers.items():
        runs = fooling["runs"]
        about = [run["photo_index"] for run in runs], np.array([run["target"]["index"] for run in runs])
        yield "first success", source, done["fooling"].arrays[source], *about
        yield "high confidence", source, done["robustness"].arrays[source], *about
    for source, attacks in done["attacks"].arrays.items():
        about = range(len(study.photos)), attacks["targets"]
        for attack, pictures in attacks["pictures"].items():
            yield f"{attack}, size {attacks['sizes'][-1]:g}", source, pictures[-1], *about
