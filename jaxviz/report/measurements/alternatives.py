"""Question 7: alternatives to the naive method at equal norm: FGSM and projected gradient descent."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxviz import images
from jaxviz._methods import attacks
from jaxviz.report._networks import in_chunks, scores
from jaxviz.report._study import Measured, Study, Tick
from jaxviz.report.measurements.survival import TRANSFORMATIONS, predicted

TITLE = "Alternatives: FGSM and PGD at equal size"
ATTACKS = ("FGSM", "L∞ PGD", "L2 PGD")


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return 2 * len(ATTACKS)


def _of_levels(model: Any, levels: jax.Array) -> jax.Array:
    """The model for images in 8-bit levels, so that norms are in levels, too."""
    mean, std = (jnp.asarray(values, jnp.float32) for values in (images.IMAGENET_MEAN, images.IMAGENET_STD))
    return model((levels / 255 - mean[None, None, None]) / std[None, None, None])


def measure(
    study: Study,
    done: Mapping[str, Measured],
    *,
    tick: Tick,
    sizes: Sequence[float | int] = (0.25, 0.5, 1.0, 2.0, 8.0),
    num_steps: int = 10,
) -> Measured:
    """Success of each attack at each size, away from the class that is seen and towards the targets."""
    network, fooling = study.networks[0], done["fooling"]
    runs, owners = fooling.numbers["networks"][network.name], fooling.numbers["owners"]
    best = [
        done["photographs"].numbers["networks"][network.name][row]["classes"][0]["index"]
        for row in range(len(study.photographs))
    ]
    model = Partial(_of_levels, network.model)
    values = study.pixels[0].size
    cases = {
        "away": (list(range(len(study.photographs))), best),
        "towards": (owners, [run["target"]["index"] for run in runs]),
    }
    curves_, pictures = {}, {}
    for aim, (rows, classes) in cases.items():
        everywhere = np.repeat(np.asarray(sizes, np.float32), len(rows))
        batch = np.tile(study.pixels[rows].astype(np.float32), (len(sizes), 1, 1, 1))
        for attack in ATTACKS:
            # an L2 ball that holds the corners of the L-infinity ball: no attack may go further than another
            radius = everywhere * np.float32(np.sqrt(values)) if attack == "L2 PGD" else everywhere
            options: dict[str, Any] = (
                {} if attack == "FGSM" else {"num_steps": num_steps, "norm": "l2" if attack == "L2 PGD" else "linf"}
            )
            found = in_chunks(
                study.method(attacks.fgsm if attack == "FGSM" else attacks.pgd),
                model,
                batch,
                np.tile(classes, len(sizes)),
                size=study.size,
                each={"epsilon": radius},
                targeted=aim == "towards",
                bounds=(0, 255),
                **options,
            )
            # judged with exact numbers: rounded, half a level would be one, and a quarter none
            best_now = in_chunks(study.method(scores), model, found, size=study.size).argmax(-1)
            reached = best_now.reshape(len(sizes), len(rows)) == np.asarray(classes)
            success = reached if aim == "towards" else ~reached
            moved = np.abs(found - batch).reshape(*success.shape, -1)
            curves_.setdefault(aim, {})[attack] = {
                "successes": success.sum(1).tolist(),
                "runs": len(rows),
                "rms_levels": np.sqrt(np.square(moved, dtype=np.float64).mean(-1)).mean(1).tolist(),
                "linf_levels": moved.max((1, 2)).tolist(),
            }
            rounded = np.clip(np.round(found), 0, 255).astype(np.uint8)
            pictures[aim, attack] = rounded.reshape(len(sizes), len(rows), *study.pixels.shape[1:])
            tick(f"{attack}, {aim}")
    own = [run["rms_levels"] for run in runs if run["reached"]]
    targets = np.asarray(cases["towards"][1])
    hits = {  # by the transformation and the attack, which 8-bit pictures of the largest size reach their target
        name: {
            attack: predicted(study, network, pictures["towards", attack][-1], TRANSFORMATIONS[name]) == targets
            for attack in ATTACKS
        }
        for name in ("8-bit save", "JPEG 75", "1 px shift")
    }
    numbers = {
        "network": network.name,
        "sizes": list(sizes),
        "num_steps": num_steps,
        "values": values,
        "curves": curves_,
        "practical": {"rms_levels": sorted(own), "runs": len(runs)},
        "target": runs[0]["target"]["name"],
        "kept": {
            name: {attack: int((hit & hits["8-bit save"][attack]).sum()) for attack, hit in found.items()}
            for name, found in hits.items()
        },
    }
    return Measured(numbers, pictures)
