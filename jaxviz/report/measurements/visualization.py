"""Questions 8 to 11: class visualizations, their settings, their starting points, other networks."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import images, labels
from jaxviz._methods import class_visualization
from jaxviz.report._measures import roughness
from jaxviz.report._networks import softmax
from jaxviz.report._study import Measured, Study, Tick, normalized, seen

TITLE = "Class visualizations"
DEFAULT = {"step_size": 5.0, "l2_weight": 1e-3}  # the practical's


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return len(study.networks)


def measure(
    study: Study,
    done: Mapping[str, Measured],
    *,
    tick: Tick,
    num_steps: int = 200,
    snapshot_every: int = 10,
    step_sizes: Sequence[float | int] = (1.0, 5.0, 25.0),
    l2_weights: Sequence[float | int] = (1e-3, 0.1, 1.0),
    max_jitter: int = 16,
) -> Measured:
    """Every visualization of a network in one call of one compiled program, the grid of settings among them."""
    noise_key, _ = jax.random.split(jax.random.fold_in(jax.random.key(study.seed), 0))  # as `jaxviz visualize` has it
    starts = {
        "noise": jax.random.normal(noise_key, study.pixels.shape[1:]),
        study.photographs[0].stem: normalized(study.pixels[:1])[0],
    }
    runs = [(target, "noise", *DEFAULT.values()) for target in study.from_noise]
    runs += [(target, study.photographs[0].stem, *DEFAULT.values()) for target in study.from_photograph]
    grid = [(study.from_noise[0], "noise", *setting) for setting in itertools.product(step_sizes, l2_weights)]
    networks, arrays = {}, {}
    for index, network in enumerate(study.networks):
        todo = list(dict.fromkeys(runs + (grid if index == 0 else [])))
        key = jax.random.fold_in(jax.random.key(study.seed), 0)
        result = jax.device_get(
            study.method(class_visualization.class_visualizations)(
                network.model,
                [run[0] for run in todo],
                key=jnp.stack([key] * len(todo)),
                init_images=jnp.stack([starts[run[1]] for run in todo]),
                num_steps=num_steps,
                step_size=jnp.asarray([run[2] for run in todo]),
                l2_weight=jnp.asarray([run[3] for run in todo]),
                max_jitter=max_jitter,
                bounds=images.IMAGENET_BOUNDS,
                snapshot_every=snapshot_every,
            )
        )
        films = np.asarray(images.to_uint8(result.snapshots))
        final = np.asarray(images.to_uint8(result.images))
        probabilities = softmax(study.scores(network, final))
        networks[network.name] = [
            {
                "target": seen(probabilities[row], run[0]),
                "start": run[1],
                "step_size": run[2],
                "l2_weight": run[3],
                "seen": seen(probabilities[row]),
                "scores": [float(score) for score in result.scores[row]],
                "roughness": roughness(final[row].astype(np.float64).mean(-1)),
                "at_the_limits": float(((final[row] == 0) | (final[row] == 255)).mean()),
                "judged_by_others": {
                    other.name: float(study.probabilities(other, final[row : row + 1])[0, run[0]])
                    for other in study.networks
                    if other is not network
                },
            }
            for row, run in enumerate(todo)
        ]
        first = np.stack([np.asarray(images.to_uint8(starts[run[1]])) for run in todo])
        arrays[network.name] = np.concatenate([first[:, None], films], axis=1)
        tick(network.name)
    numbers = {
        "settings": {
            **DEFAULT,
            "num_steps": num_steps,
            "snapshot_every": snapshot_every,
            "max_jitter": max_jitter,
            "blur_every": 10,
            "blur_sigma": 0.5,
        },
        "grid": {
            "step_sizes": list(step_sizes),
            "l2_weights": list(l2_weights),
            "class": labels.name(study.from_noise[0]),
        },
        "networks": networks,
    }
    return Measured(numbers, arrays)


def defaults(runs: list[dict[str, Any]], start: str | None) -> list[int]:
    """Which runs have the practical's settings and this start; of any photograph where it is None."""
    return [
        row
        for row, run in enumerate(runs)
        if all(run[name] == value for name, value in DEFAULT.items())
        and (run["start"] == start if start else run["start"] != "noise")
    ]
