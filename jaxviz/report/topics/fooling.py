"""Question 5: fooling images, of each photograph to several targets."""

import numpy as np

from jaxviz import fooling_images, images
from jaxviz.figures import difference_picture
from jaxviz.report.drawing import Picture
from jaxviz.report.metrics import perturbation_size
from jaxviz.report.study import normalized, prediction, scores
from jaxviz.report.text import mean, percent, plural

TITLE = "Fooling images"
PAGES = {"fooling": ("Question 5", TITLE)}
_GAIN = 10.0  # of the magnified difference


def measure(study, network, done, *, step_size: float = 0.5, max_steps: int = 100):
    """Each photograph changed into each of its targets, as 8-bit pictures."""
    photo_index, targets = _runs(study)
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
    return study.run(
        fooling_images,
        network.model,
        normalized(study.pixels[photo_index]),
        np.asarray(targets),
        at_once=len(targets),
        confidence=confidence,
        levels=levels,
        bounds=images.IMAGENET_BOUNDS,
        **settings,
    )


def _runs(study) -> tuple[list[int], list[int]]:
    """The photograph and the target of each run."""
    targets = [list(study.targets)] * len(study.photos)
    if not study.targets:
        first = study.run(scores, study.networks[0].model, normalized(study.pixels))
        targets = [choose_targets(values, study.seed + row) for row, values in enumerate(first)]
    return [photo for photo, chosen in enumerate(targets) for _ in chosen], [index for row in targets for index in row]


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
    norms = np.linalg.norm(changes, axis=1, keepdims=True)
    cosines = changes @ changes.T / np.where(norms == 0, 1, norms) / np.where(norms.T == 0, 1, norms.T)
    count = range(len(pictures))
    return mean(
        float(cosines[i, j])
        for i in count
        for j in count[i + 1 :]
        if photo_index[i] == photo_index[j] and norms[i] and norms[j]
    )


def figures(study, network, numbers, pictures, draw):
    """Each photograph's first run, all runs of the first photograph, and pairs to compare."""
    runs = numbers["runs"]
    columns = [
        _pictures(study, draw, row, run, pixels) for row, (run, pixels) in enumerate(zip(runs, pictures, strict=True))
    ]
    indices = [run["photo_index"] for run in runs]
    firsts = [columns[indices.index(photo)] for photo in range(len(study.photos))]
    of_first_photo = [column for column, photo in zip(columns, indices, strict=True) if photo == 0]
    figures = {"first_targets": draw.pictures("fooling", firsts)}
    figures["pairs"] = [[draw.picture(picture) for picture in column[:2]] for column in firsts]
    if len(of_first_photo) > 1:
        rows = [[column[place] for column in of_first_photo] for place in (1, 3)]
        figures["targets"] = draw.pictures("targets", rows)
    return figures


def _pictures(study, draw, row, run, pixels) -> list[Picture]:
    """Original, fooled, difference and magnified difference of a run."""
    original, name, target = study.pixels[run["photo_index"]], run["photograph"], run["target"]["name"]
    before, after = (f"{p['name']}, {percent(p['probability'])}" for p in (run["original"], run["prediction"]))
    psnr = "no change" if run["psnr_db"] is None else f"PSNR {run['psnr_db']:.1f} dB"
    size = f"at most {plural(run['largest_change_in_levels'], 'level')}, {psnr}"
    norm = f"L2 norm {run['l2_norm']:.2f}"
    file = f"{draw.number}-{name}-{row}"
    alt = f"{name} after {plural(run['steps'], 'iteration')}, {size}: the prediction is {after}."
    return [
        Picture(f"photo-{name}", original, before, f"The photograph {name}: {before}."),
        Picture(f"fooled-{file}", pixels, after, alt),
        Picture(
            f"difference-{file}",
            difference_picture(original, pixels),
            size,
            f"Change of {name} to {target} around grey: {size}.",
        ),
        Picture(
            f"magnified-{file}",
            difference_picture(original, pixels, gain=_GAIN),
            f"{target}, {_GAIN:g} times, {norm}",
            f"Change of {name} to {target}, {_GAIN:g} times; grey means no change; {norm}.",
        ),
    ]
