"""Question 5: fooling images, of each photograph to several targets."""

import numpy as np

from jaxviz import fooling_images, images
from jaxviz.figures import difference_picture
from jaxviz.report.metrics import perturbation_size
from jaxviz.report.study import normalized, prediction, scores
from jaxviz.report.text import mean, percent, plural

TITLE = "Fooling images"
PAGES = {"fooling": ("Question 5", TITLE)}
QUICK = {"num_targets": 1}


def measure(study, network, done, *, step_size: float = 0.5, max_steps: int = 100, num_targets: int | None = None):
    """Each photograph changed into each of its targets, as 8-bit pictures."""
    photo_index, targets = _runs(study, num_targets)
    result = fool(study, network, photo_index, targets, step_size=step_size, max_steps=max_steps)
    pictures = np.asarray(images.to_uint8(result.images))
    before, after = study.probabilities(network, study.pixels), study.probabilities(network, pictures)
    runs = [
        {
            "photograph": study.photos[photo].name,
            "photo_index": photo,
            "target": prediction(after[run], target),
            "target_before": float(before[photo][target]),
            "original": prediction(before[photo]),
            "original_after": float(after[run][before[photo].argmax()]),
            "prediction": prediction(after[run]),
            "reached": bool(after[run].argmax() == target),
            "stalled": bool(result.stalled[run]),
            "steps": int(result.steps[run]),
            **perturbation_size(study.pixels[photo], pictures[run]),
        }
        for run, (photo, target) in enumerate(zip(photo_index, targets, strict=True))
    ]
    similarity = _similarity(study.pixels, photo_index, pictures)
    return {"runs": runs, "step_size": step_size, "similarity": similarity}, pictures


def fool(study, network, photo_index, targets, *, confidence=0.0, levels=256, **settings):
    """`fooling_images` of all runs. Every use has the same structure, so that one program serves them all."""
    examples, count = (normalized(study.pixels[photo_index]), np.asarray(targets)), len(targets)
    settings |= {"confidence": confidence, "levels": levels, "bounds": images.IMAGENET_BOUNDS}
    return study.run(fooling_images, network.model, *examples, at_once=count, **settings)


def _runs(study, count: int | None) -> tuple[list[int], list[int]]:
    """The photograph and the target of each run."""
    targets = [study.targets] * len(study.photos)
    if not study.targets:
        first = study.run(scores, study.networks[0].model, normalized(study.pixels))
        targets = [choose_targets(values, study.seed + row) for row, values in enumerate(first)]
    runs = [(photo, int(target)) for photo, chosen in enumerate(targets) for target in chosen[:count]]
    return [photo for photo, _ in runs], [target for _, target in runs]


def choose_targets(scores: np.ndarray, seed: int, *, count: int = 3) -> list[int]:
    """The least probable class that is not dead, and others at random.

    A class whose score is exactly 0 is dead in a network that ends in ReLU: its gradient is zero, too.
    """
    others = np.arange(len(scores)) != scores.argmax()
    alive = np.flatnonzero((scores != 0) & others)
    if not len(alive):
        alive = np.flatnonzero(others)
    least = int(alive[scores[alive].argmin()])
    return [least, *np.random.default_rng(seed).permutation(alive[alive != least])[: count - 1].tolist()]


def _similarity(pixels, photo_index, pictures) -> float | None:
    """The mean cosine of the changes of one photograph towards different targets."""
    changes = (pictures.astype(float) - pixels[photo_index]).reshape(len(pictures), -1)
    norms = np.linalg.norm(changes, axis=1)
    pairs = [
        (i, j)
        for i, j in zip(*np.triu_indices(len(pictures), 1), strict=True)
        if photo_index[i] == photo_index[j] and norms[i] and norms[j]
    ]
    return mean(float(changes[i] @ changes[j] / norms[i] / norms[j]) for i, j in pairs)


def figures(study, network, numbers, pictures, draw):
    """Each photograph's first run, and all runs of the first photograph."""
    columns = [_pictures(study, *pair) for pair in zip(numbers["runs"], pictures, strict=True)]
    firsts, of_first_photo = {}, []
    for run, column in zip(numbers["runs"], columns, strict=True):
        firsts.setdefault(run["photograph"], column)
        of_first_photo += [column] if run["photo_index"] == 0 else []
    pairs = [
        (np.concatenate([pixels for pixels, _ in c[:2]], axis=1), f"{c[0][1]} → {c[1][1]}") for c in firsts.values()
    ]
    figures = {"firsts": draw.pictures("fooling", firsts)}
    figures["pairs"] = draw.pictures("pair", {"original and fooling image": pairs})[0]
    if len(of_first_photo) > 1:
        rows = {"fooling image": [c[1] for c in of_first_photo], "difference": [c[3] for c in of_first_photo]}
        figures["targets"] = draw.pictures("targets", rows)
    return figures


def _pictures(study, run, pixels):
    """Original, fooling image, difference and magnified difference of a run, with captions."""
    original, target = study.pixels[run["photo_index"]], run["target"]["name"]
    before, after = (f"{p['name']}, {percent(p['probability'])}" for p in (run["original"], run["prediction"]))
    psnr = "no change" if run["psnr_db"] is None else f"PSNR {run['psnr_db']:.1f} dB"
    size = f"difference: at most {plural(run['largest_change_in_levels'], 'level')}, {psnr}"
    magnified = f"difference to {target}, 10 times; L2 norm {run['l2_norm']:.2f}"
    differences = difference_picture(original, pixels), difference_picture(original, pixels, gain=10.0)
    return [(original, before), (pixels, after), (differences[0], size), (differences[1], magnified)]
