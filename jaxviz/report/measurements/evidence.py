"""Question 2, second limit: the maps are local and linear; what they are worth as evidence."""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxviz._methods import perturbation_curves
from jaxviz.report._measures import centre_order
from jaxviz.report._networks import in_chunks
from jaxviz.report._study import Measured, Study, Tick, normalized
from jaxviz.report._tangent import along_gradient

TITLE = "A limit: local and linear"
MAPS = ("gradient", "SmoothGrad", "integrated gradients")
CONTROLS = ("centre first", "random")


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return 3 * len(study.networks)


def measure(
    study: Study,
    done: Mapping[str, Measured],
    *,
    tick: Tick,
    num_steps: int = 28,
    distances: Sequence[float | int] = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
) -> Measured:
    """Scores along the gradient, and deletion and insertion in the order of each map, of the centre and of chance."""
    labels = np.asarray([explained["index"] for explained in done["photographs"].numbers["explained"]])
    batch, n = normalized(study.pixels), len(labels)
    controls = {
        "centre first": np.broadcast_to(centre_order(batch.shape[1:]), batch.shape[:3]),
        "random": np.random.default_rng(study.seed).random(batch.shape[:3], np.float32),
    }
    networks = {}
    for network in study.networks:
        follow = study.method(along_gradient)
        tangent = in_chunks(
            follow, network.model, batch, labels, size=study.size, distances=np.asarray(distances, np.float32)
        )
        tick(f"{network.name}, tangent")
        maps = {**done["noise"].arrays[network.name], **controls}
        orders = np.concatenate(list(maps.values()))
        found = {}
        for kind, curve in (
            ("deletion", perturbation_curves.deletion_curve),
            ("insertion", perturbation_curves.insertion_curve),
        ):
            result = in_chunks(
                study.method(curve),
                network.model,
                np.tile(np.asarray(batch), (len(maps), 1, 1, 1)),
                np.tile(labels, len(maps)),
                orders,
                size=study.size,
                num_steps=num_steps,
                baseline=0.0,
            )
            found[kind] = {
                order: {
                    "probabilities": result.probabilities[row * n : (row + 1) * n].tolist(),
                    "areas": result.auc[row * n : (row + 1) * n].tolist(),
                }
                for row, order in enumerate(maps)
            }
            tick(f"{network.name}, {kind}")
        networks[network.name] = {
            **found,
            "tangent": {"scores": tangent.scores.tolist(), "slopes": tangent.slopes.tolist()},
        }
    numbers = {
        "num_steps": num_steps,
        "distances": list(distances),
        "explained": done["photographs"].numbers["explained"],
        "networks": networks,
    }
    return Measured(numbers, None)
