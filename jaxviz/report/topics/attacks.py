"""Question 7: attacks of equal size as alternatives: FGSM and projected gradient descent."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from jaxviz import fgsm, images, pgd
from jaxviz.figures import difference_picture
from jaxviz.report.drawing import Picture, curves
from jaxviz.report.metrics import perturbation_size
from jaxviz.report.study import scores
from jaxviz.report.text import listed, number
from jaxviz.report.topics.robustness import transformed_predictions

TITLE = "Alternatives: FGSM and PGD at equal size"
PAGES = {"attacks": ("Question 7", TITLE)}
QUICK = {"sizes": (0.5, 2.0, 8.0), "num_steps": 5}
ATTACKS = {"FGSM": (fgsm, {}), "L∞ PGD": (pgd, {"norm": "linf"}), "L2 PGD": (pgd, {"norm": "l2"})}


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
    sizes: Sequence[float | int] = (0.25, 0.5, 1.0, 2.0, 8.0),
    num_steps: int = 7,
    targets_per_photo: int = 1,
):
    """Successes of each attack at each size, away from the prediction and towards targets; of the first network."""
    if network is not study.networks[0]:
        return None
    runs = done["fooling"].numbers[network.name]["runs"]
    indices = [run["photo_index"] for run in runs]
    chosen = [place for place, photo in enumerate(indices) if indices[:place].count(photo) < targets_per_photo]
    photo_index = [indices[place] for place in chosen]
    targets = np.array([runs[place]["target"]["index"] for place in chosen])
    predicted = study.probabilities(network, study.pixels).argmax(-1)
    cases = {"away": (list(range(len(study.photos))), predicted), "towards": (photo_index, targets)}
    successes, pictures = {}, {}
    for aim, (rows, classes) in cases.items():
        successes[aim], pictures[aim] = {}, {}
        for attack in ATTACKS:
            made = _attacked(study, network, attack, rows, classes, sizes, num_steps, targeted=aim == "towards")
            # evaluated without rounding, which would make one level of half a level and nothing of a quarter
            values = study.run(scores, network.model, _normalized(made).reshape(-1, *made.shape[2:]))
            reached = values.argmax(-1).reshape(made.shape[:2]) == classes
            counts = (reached if aim == "towards" else ~reached).sum(1).tolist()
            enough = [size for size, count in zip(sizes, counts, strict=True) if 2 * count >= len(rows)]
            successes[aim][attack] = {
                "successes": counts,
                "runs": len(rows),
                "size_for_half": min(enough, default=None),
            }
            pictures[aim][attack] = np.clip(np.round(made), 0, 255).astype(np.uint8)
    kept = {attack: _kept(study, network, pictures["towards"][attack][-1], targets) for attack in ATTACKS}
    naive = sorted(run["rms_change_in_levels"] for run in runs if run["reached"])
    numbers = {"aims": successes, "kept": kept, "naive": {"rms_change_in_levels": naive, "runs": len(runs)}}
    numbers |= {"first_target": runs[0]["target"]["name"], "values": study.pixels[0].size}
    return numbers, {**pictures, "photo_index": photo_index, "targets": targets, "sizes": sizes}


def _attacked(study, network, attack, rows, classes, sizes, num_steps, *, targeted: bool) -> np.ndarray:
    """The attacked pictures in levels, (sizes, rows, h, w, 3)."""
    method, options = ATTACKS[attack]
    radius = np.repeat(np.asarray(sizes, np.float32), len(rows))
    if attack == "L2 PGD":  # the ball that holds the corners of the L∞ ball: FGSM's change has this norm
        radius *= np.float32(np.sqrt(study.pixels[0].size))
    batch = np.tile(study.pixels[rows].astype(np.float32), (len(sizes), 1, 1, 1))
    made = study.run(
        method,
        Partial(_of_levels, network.model),
        batch,
        np.tile(classes, len(sizes)),
        each={"epsilon": radius},
        targeted=targeted,
        bounds=(0, 255),
        **options,
        **({"num_steps": num_steps} if method is pgd else {}),
    )
    return made.reshape(len(sizes), len(rows), *batch.shape[1:])


def _kept(study, network, pictures, targets) -> dict[str, int]:
    """How many 8-bit pictures reach their target, and how many of these keep it after a transformation."""
    hits = {
        name: transformed_predictions(study, network, pictures, name) == targets
        for name in ("8-bit save", "JPEG 75", "1 px shift")
    }
    return {name: int((hit & hits["8-bit save"]).sum()) for name, hit in hits.items()}


def figures(study, network, numbers, arrays, draw):
    """Success over size, and the first photograph after each attack of the middle size."""
    sizes = arrays["sizes"]
    figures = {aim: _plot(numbers, aim, sizes, draw) for aim in numbers["aims"]}
    middle, photo, rows = len(sizes) // 2, study.photos[0], [[], []]
    for attack in ATTACKS:
        picture = arrays["towards"][attack][middle, 0]
        change = perturbation_size(photo.pixels, picture)
        size = f"{attack}: at most {change['largest_change_in_levels']} levels, PSNR {number(change['psnr_db'], 1)} dB"
        name = f"attack-{attack.replace(' ', '-').replace('∞', 'inf').lower()}"
        alt = f"{photo.name} after {attack} of size {sizes[middle]:g} towards {numbers['first_target']}. {size}."
        rows[0].append(Picture(name, picture, size, alt))
        magnified = difference_picture(photo.pixels, picture, gain=10.0)
        rows[1].append(
            Picture(f"{name}-magnified", magnified, "difference, 10 times", f"Difference of {size}, 10 times.")
        )
    return {**figures, "pictures": draw.pictures("attacks", rows), "size": sizes[middle]}


def _plot(numbers, aim, sizes, draw):
    attacks = numbers["aims"][aim]
    lines = {attack: [100 * count / r["runs"] for count in r["successes"]] for attack, r in attacks.items()}
    success = {"away": "prediction changed, %", "towards": "target reached, %"}[aim]

    def plot(axes, palette):
        labels = ("size of the change, levels (root mean square)", success)
        curves(axes, palette, sizes, lines, labels=labels, marked=True)
        naive = numbers["naive"]["rms_change_in_levels"]
        if aim == "towards" and naive:
            shares = 100 * np.minimum(np.arange(1, len(naive) + 2), len(naive)) / numbers["naive"]["runs"]
            style = {"color": palette.lines[3], "linestyle": ":", "label": "fooling images, until success"}
            axes.step([*naive, sizes[-1]], shares, where="post", **style)
            axes.legend()
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_ylim(-4, 104)

    ends = listed(f"{attack} {number(y[0], 0)} % to {number(y[-1], 0)} %" for attack, y in lines.items())
    alt = f"{success} over the size of the change, from {sizes[0]:g} to {sizes[-1]:g} levels: {ends}."
    return draw.plot(f"attacks-{aim}", plot, alt=alt)
