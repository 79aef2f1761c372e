"""Question 7: attacks of equal size as alternatives: FGSM and projected gradient descent."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from jaxviz import fgsm, images, pgd
from jaxviz.figures import difference_picture
from jaxviz.report.metrics import perturbation_size
from jaxviz.report.study import scores
from jaxviz.report.text import number
from jaxviz.report.topics import robustness

TITLE = "Alternatives: FGSM and PGD at equal size"
PAGES = {"attacks": ("Question 7", TITLE)}
QUICK = {"norms": ("l2",), "sizes": (1.0, 8.0), "num_steps": 3}


def _normalized(levels: Any) -> Any:
    mean, std = (np.asarray(rgb, np.float32)[None, None, None] for rgb in (images.IMAGENET_MEAN, images.IMAGENET_STD))
    return (levels / 255 - mean) / std


def _of_levels(model: Any, levels: jax.Array) -> jax.Array:
    """The model for images in 8-bit levels, so that norms are in levels, too."""
    return model(_normalized(levels))


def measure(
    study,
    network,
    done,
    *,
    norms: Sequence[str] = ("linf", "l2"),
    sizes: Sequence[float | int] = (0.5, 2.0, 8.0),
    num_steps: int = 5,
):
    """Successes of each attack at each size, away from the prediction and towards targets; of the first network."""
    if network is not study.networks[0]:
        return None
    runs = done["fooling"].numbers[network.name]["runs"]
    first = {run["photo_index"]: run["target"]["index"] for run in reversed(runs)}  # each photograph's first target
    targets = np.array([first[photo] for photo in range(len(study.photos))])
    classes = {"away": study.probabilities(network, study.pixels).argmax(-1), "towards": targets}
    attacks = {"FGSM": None, **{{"linf": "L∞ PGD", "l2": "L2 PGD"}[norm]: norm for norm in norms}}
    aims, pictures = {aim: {} for aim in classes}, {}
    for aim, attack in itertools.product(classes, attacks):
        made = _attacked(study, network, attacks[attack], classes[aim], sizes, num_steps, targeted=aim == "towards")
        # evaluated without rounding, which would make one level of half a level
        values = study.run(scores, network.model, _normalized(made).reshape(-1, *made.shape[2:]))
        reached = (values.argmax(-1).reshape(made.shape[:2]) == classes[aim]) == (aim == "towards")
        counts, total = reached.sum(1).tolist(), len(study.photos)
        enough = [size for size, count in zip(sizes, counts, strict=True) if 2 * count >= total]
        aims[aim][attack] = {"successes": counts, "runs": total, "size_for_half": min(enough, default=None)}
        pictures[attack] = np.clip(np.round(made), 0, 255).astype(np.uint8)  # those towards the target stay
    naive = sorted(run["rms_change_in_levels"] for run in runs if run["reached"])
    kept = {}  # of the largest size
    for attack in attacks:
        reached = study.probabilities(network, pictures[attack][-1]).argmax(-1) == targets
        kept[attack] = robustness.kept(study, network, pictures[attack][-1], targets, reached)["kept"]
    numbers = {
        "aims": aims,
        "kept": kept,
        "naive": {"rms_change_in_levels": naive, "runs": len(runs)},
        "first_target": runs[0]["target"]["name"],
        "values": study.pixels[0].size,
    }
    return numbers, {"pictures": pictures, "targets": targets, "sizes": sizes}


def _attacked(study, network, norm, classes, sizes, num_steps, *, targeted: bool) -> np.ndarray:
    """The photographs in levels after PGD or, without a norm, FGSM: (sizes, n, h, w, 3)."""
    radius = np.repeat(np.asarray(sizes, np.float32), len(classes))
    method, options = (pgd, {"num_steps": num_steps, "norm": norm}) if norm else (fgsm, {})
    if norm == "l2":  # the ball that holds the corners of the L∞ ball: FGSM's change has this norm
        radius *= np.float32(np.sqrt(study.pixels[0].size))
    examples = np.tile(study.pixels.astype(np.float32), (len(sizes), 1, 1, 1)), np.tile(classes, len(sizes))
    options |= {"targeted": targeted, "bounds": (0, 255), "each": {"epsilon": radius}}
    made = study.run(method, Partial(_of_levels, network.model), *examples, **options)
    return made.reshape(len(sizes), *study.pixels.shape)


def figures(study, network, numbers, arrays, draw):
    """Success over size, and the first photograph after each attack of a middle size."""
    sizes, photo = arrays["sizes"], study.photos[0].pixels
    figures = {aim: _plot(numbers, aim, sizes, draw) for aim in numbers["aims"]}
    middle, rows = len(sizes) // 2, {"attacked photograph": [], "difference": []}
    for attack, pictures in arrays["pictures"].items():
        change = perturbation_size(photo, picture := pictures[middle, 0])
        size = f"at most {change['largest_change_in_levels']} levels, PSNR {number(change['psnr_db'], 1)} dB"
        rows["attacked photograph"].append((picture, f"{attack}: {size}"))
        rows["difference"].append((difference_picture(photo, picture, gain=10.0), f"{attack}: difference, 10 times"))
    return {**figures, "pictures": draw.pictures("attacks", rows), "size": sizes[middle]}


def _plot(numbers, aim, sizes, draw):
    """The success of each attack; towards a target also that of the fooling images of question 5."""

    def adjust(axes):
        naive, runs = numbers["naive"]["rms_change_in_levels"], numbers["naive"]["runs"]
        if aim == "towards" and naive:
            shares = 100 * np.minimum(np.arange(1, len(naive) + 2), len(naive)) / runs
            style = {"color": "C3", "linestyle": ":", "marker": "", "label": "fooling images, until success"}
            axes.step([*naive, sizes[-1]], shares, where="post", **style)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_ylim(-4, 104)

    success = {"away": "prediction changed, %", "towards": "target reached, %"}[aim]
    lines = {name: [100 * count / r["runs"] for count in r["successes"]] for name, r in numbers["aims"][aim].items()}
    return draw.plot(f"attacks-{aim}", sizes, lines, ("size of the change, levels (root mean square)", success), adjust)
