"""Question 6: consequences, measured: what of the fooling is left after a picture has been saved, moved or blurred."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from jaxviz import images
from jaxviz._methods.fooling import fooling_images
from jaxviz.report._measures import blurred, change, jpeg, shifted
from jaxviz.report._networks import in_chunks
from jaxviz.report._study import Measured, Study, Tick, normalized
from jaxviz.report._text import median

TITLE = "Consequences: does it survive outside the computer?"

Transformation = Callable[[np.ndarray], np.ndarray]
TRANSFORMATIONS: dict[str, Transformation] = {
    "8-bit save": lambda picture: picture,
    "JPEG 95": partial(jpeg, quality=95),
    "JPEG 85": partial(jpeg, quality=85),
    "JPEG 75": partial(jpeg, quality=75),
    "JPEG 50": partial(jpeg, quality=50),
    "1 px shift": partial(shifted, rows=1, columns=1),
    "blur 0.5 px": partial(blurred, sigma=0.5),
    "blur 1 px": partial(blurred, sigma=1.0),
}
KINDS = ("stopped at once, unrounded", "stopped at once, 8-bit", "driven on, 8-bit")
CONTROL = "photograph (keeps its class)"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return 2 * len(study.networks)


def measure(
    study: Study, done: Mapping[str, Measured], *, tick: Tick, confidence: float = 0.9, max_steps: int = 100
) -> Measured:
    """Each way to fool, each transformation: is the picture still taken for the target?"""
    fooling = done["fooling"]
    owners, settings = fooling.numbers["owners"], fooling.numbers["settings"]
    networks, arrays = {}, {}
    for network in study.networks:
        runs = fooling.numbers["networks"][network.name]
        targets = np.asarray([run["target"]["index"] for run in runs])
        method, start = study.method(fooling_images), normalized(study.pixels[owners])
        options = {"size": len(runs), "step_size": settings["step_size"], "bounds": images.IMAGENET_BOUNDS}
        naive = in_chunks(method, network.model, start, targets, max_steps=settings["max_steps"], **options)
        driven = in_chunks(
            method, network.model, start, targets, max_steps=max_steps, confidence=confidence, levels=256, **options
        )
        tick(f"{network.name}, fooling")
        pictures = [np.asarray(images.to_uint8(values)) for values in (naive.images, driven.images)]
        kinds = dict(zip(KINDS, (pictures[0], fooling.arrays[network.name], pictures[1]), strict=True))
        reached = dict(zip(KINDS, (naive.fooled, [run["reached"] for run in runs], driven.fooled), strict=True))
        best = np.asarray([run["original"]["index"] for run in runs])[
            [owners.index(row) for row in sorted(set(owners))]
        ]
        networks[network.name] = {
            CONTROL: {
                "runs": len(study.photographs),
                "kept": {
                    name: int((predicted(study, network, study.pixels, transform) == best).sum())
                    for name, transform in TRANSFORMATIONS.items()
                },
            },
            **{
                kind: {
                    "runs": int(np.sum(reached[kind])),
                    "kept": {
                        name: int(((predicted(study, network, each, transform) == targets) & reached[kind]).sum())
                        for name, transform in TRANSFORMATIONS.items()
                    },
                    "rms_levels": median(
                        [
                            change(study.pixels[row], picture)["rms_levels"] or 0.0
                            for row, picture in zip(owners, each, strict=True)
                        ]
                    ),
                }
                for kind, each in kinds.items()
            },
        }
        arrays[network.name] = pictures[1]
        tick(f"{network.name}, transformations")
    return Measured({"confidence": confidence, "networks": networks}, arrays)


def predicted(study: Study, network: Any, pictures: np.ndarray, transform: Transformation) -> np.ndarray:
    """The class that is seen in each picture (n, h, w, 3) after a transformation."""
    return study.scores(network, np.stack([transform(picture) for picture in pictures])).argmax(-1)
