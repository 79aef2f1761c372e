"""Question 5: the fooling images, of each photograph to several targets."""

from collections.abc import Mapping

import numpy as np

from jaxviz import images
from jaxviz._methods import fooling
from jaxviz.report._measures import change
from jaxviz.report._networks import in_chunks, softmax
from jaxviz.report._study import Measured, Study, Tick, normalized, seen
from jaxviz.report._text import mean

TITLE = "Fooling images"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return len(study.networks)


def measure(
    study: Study, done: Mapping[str, Measured], *, tick: Tick, step_size: float = 0.5, max_steps: int = 100
) -> Measured:
    """Every photograph made into each of its targets, as 8-bit pictures."""
    first = study.scores(study.networks[0], study.pixels)
    targets = [list(study.targets) or chosen(scores, study.seed + row) for row, scores in enumerate(first)]
    owners = [row for row, found in enumerate(targets) for _ in found]
    wanted = [target for found in targets for target in found]
    networks, arrays = {}, {}
    for network in study.networks:
        result = in_chunks(
            study.method(fooling.fooling_images),
            network.model,
            normalized(study.pixels[owners]),
            np.asarray(wanted),
            size=len(wanted),
            step_size=step_size,
            max_steps=max_steps,
            confidence=0.0,
            bounds=images.IMAGENET_BOUNDS,
            levels=256,
        )
        pictures = np.asarray(images.to_uint8(result.images))
        before = softmax(study.scores(network, study.pixels))
        after = softmax(study.scores(network, pictures))
        networks[network.name] = [
            {
                "photograph": study.photographs[row].stem,
                "target": seen(after[run], target),
                "target_before": float(before[row][target]),
                "original": seen(before[row]),
                "original_after": float(after[run][before[row].argmax()]),
                "seen": seen(after[run]),
                "reached": bool(after[run].argmax() == target),
                "stalled": bool(result.stalled[run]),
                "steps": int(result.steps[run]),
                **change(study.pixels[row], pictures[run]),
            }
            for run, (row, target) in enumerate(zip(owners, wanted, strict=True))
        ]
        arrays[network.name] = pictures
        tick(network.name)
    numbers = {
        "settings": {"step_size": step_size, "max_steps": max_steps},
        "chosen": not study.targets,
        "owners": owners,
        "networks": networks,
        "likeness": _likeness(study, owners, arrays[study.networks[0].name]),
    }
    return Measured(numbers, arrays)


def chosen(scores: np.ndarray, seed: int, *, count: int = 3) -> list[int]:
    """Targets of one photograph: the least likely class that is not dead, and others drawn at random.

    A class whose score is exactly 0 is dead in a network that ends in ReLU: its gradient is zero, too.
    """
    alive = np.flatnonzero((scores != 0) & (np.arange(len(scores)) != scores.argmax()))
    if not len(alive):  # no class but the best has a score
        alive = np.flatnonzero(np.arange(len(scores)) != scores.argmax())
    least = int(alive[scores[alive].argmin()])
    others = np.random.default_rng(seed).permutation(alive[alive != least])[: count - 1]
    return [least, *others.tolist()]


def _likeness(study: Study, owners: list[int], pictures: np.ndarray) -> float | None:
    """Mean cosine of the changes of the same photograph towards different targets."""
    changes = [(pictures[run].astype(np.float64) - study.pixels[row]).ravel() for run, row in enumerate(owners)]
    cosines = [
        float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        for i, a in enumerate(changes)
        for j, b in enumerate(changes)
        if i < j and owners[i] == owners[j] and a.any() and b.any()
    ]
    return mean(cosines)
