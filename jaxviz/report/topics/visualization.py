"""Questions 8 to 11: class visualizations, their settings, their starts, and those of other networks."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import class_visualizations, images
from jaxviz.report.metrics import roughness
from jaxviz.report.study import normalized, prediction
from jaxviz.report.text import percent

TITLE = "Class visualizations"
PAGES = {
    "visualization": ("Question 8", "Class visualization from noise"),
    "settings": ("Question 9", "Iterations, learning rate, regularization weight"),
    "transformation": ("Question 10", "Class visualization from a photograph"),
    "others": ("Question 11", "The same with another network"),
}
QUICK = {"num_steps": 20, "snapshot_every": 5, "step_sizes": (5.0, 25.0), "l2_weights": (1e-3, 1.0)}
_DEFAULT = (5.0, 1e-3)  # the practical's step size and weight


def measure(
    study,
    network,
    done,
    *,
    num_steps: int = 100,
    snapshot_every: int = 10,
    step_sizes: Sequence[float | int] = (1.0, 5.0, 25.0),
    l2_weights: Sequence[float | int] = (1e-3, 0.1, 1.0),
    max_jitter: int = 16,
):
    """All visualizations of a network from one call of one program; those of the first include the grid of settings."""
    key = jax.random.fold_in(jax.random.key(study.seed), 0)  # noise and jitter as in `jaxviz visualize`
    noise, photo = jax.random.normal(jax.random.split(key)[0], study.pixels.shape[1:]), study.photos[0].name
    starts = {"noise": noise, photo: normalized(study.pixels[:1])[0]}
    defaults = [(target, "noise", *_DEFAULT) for target in study.from_noise]
    defaults += [(target, photo, *_DEFAULT) for target in study.from_photograph]
    grid = [(study.from_noise[0], "noise", *pair) for pair in itertools.product(step_sizes, l2_weights)]
    grid = grid if network is study.networks[0] else []
    settings = list(dict.fromkeys(grid + defaults))
    targets, names, sizes, weights = map(list, zip(*settings, strict=True))
    each = {
        "key": jnp.stack([key] * len(settings)),
        "init_images": jnp.stack([starts[name] for name in names]),
        "step_size": jnp.asarray(sizes, jnp.float32),
        "l2_weight": jnp.asarray(weights, jnp.float32),
    }
    options = {"num_steps": num_steps, "max_jitter": max_jitter, "snapshot_every": snapshot_every}
    options |= {"bounds": images.IMAGENET_BOUNDS, "each": each, "at_once": len(settings)}
    result = study.run(class_visualizations, network.model, np.asarray(targets), **options)
    first, films = each["init_images"][:, None], result.snapshots
    films, final = (np.asarray(images.to_uint8(x)) for x in (np.concatenate([first, films], axis=1), result.images))
    probabilities = {other.name: study.probabilities(other, final) for other in study.networks}
    own = probabilities.pop(network.name)
    runs = [
        {
            "target": prediction(own[row], target),
            "start": start,
            "step_size": step_size,
            "l2_weight": l2_weight,
            "default": settings[row] in defaults,
            "grid": settings[row] in grid,
            "prediction": prediction(own[row]),
            "scores": result.scores[row].tolist(),
            "final_score": float(result.scores[row, -1]),
            "iterations_to_nine_tenths": _iterations_to_nine_tenths(result.scores[row]),
            "rises_in_second_half": _rises_in_second_half(result.scores[row]),
            "roughness": roughness(final[row].mean(-1)),
            "share_at_limits": float(np.isin(final[row], (0, 255)).mean()),
            "other_models": {name: float(values[row, target]) for name, values in probabilities.items()},
        }
        for row, (target, start, step_size, l2_weight) in enumerate(settings)
    ]
    return runs, {"films": films, "every": snapshot_every}


def _iterations_to_nine_tenths(scores) -> int | None:
    """The iteration at which the score has made nine tenths of its gain; None without a gain."""
    gain = scores[-1] - scores[0]
    return int(np.argmax(scores - scores[0] >= 0.9 * gain)) if gain > 0 else None


def _rises_in_second_half(scores) -> bool:
    """Whether the score rises by more than 5 % from half of the iterations on."""
    return bool(scores[-1] > 1.05 * scores[len(scores) // 2])


def figures(study, network, runs, arrays, draw):
    """Last frames, films and scores of the default settings; for the first network also the films of the grid."""
    figures, films, every = {}, arrays["films"], arrays["every"]
    for start, noise in (("noise", True), ("photograph", False)):
        rows = [row for row, run in enumerate(runs) if run["default"] and (run["start"] == "noise") == noise]
        names = [f"{runs[row]['target']['name']} from {runs[row]['start']}" for row in rows]
        captions = [f"{n}: {percent(runs[r]['target']['probability'])}" for n, r in zip(names, rows, strict=True)]
        if len(study.networks) > 1:
            last = []
            for row, caption in zip(rows, captions, strict=True):
                others = [f"{other}: {percent(value)}" for other, value in runs[row]["other_models"].items()]
                last.append((films[row][-1], "; ".join([f"{network.name}: {caption}", *others])))
            figures[f"{start}_last"] = draw.pictures(f"{start}-last", {"last iteration": last})[0]
        if network is study.networks[0]:
            figures[start] = _strips(f"{start}-film", films[rows], captions, draw)
            lines = {name: runs[row]["scores"] for name, row in zip(names, rows, strict=True)}
            labels = ("iteration", "score of the class")
            figures[f"{start}_scores"] = draw.plot(f"{start}-scores", range(len(runs[0]["scores"])), lines, labels)
    grid = [row for row, run in enumerate(runs) if run["grid"]]
    places = sorted({round((films.shape[1] - 1) * share) for share in (0.125, 0.25, 0.5, 1)} - {0})
    captions = [f"η {runs[row]['step_size']:g}, λ {runs[row]['l2_weight']:g}" for row in grid]
    figures["grid"] = _strips("grid", films[grid][:, places], captions, draw)
    figures["steps"] = [place * every for place in range(films.shape[1])]
    return {**figures, "grid_steps": [place * every for place in places]}


def _strips(name, films, captions, draw):
    """The frames of each film (s, h, w, 3) side by side."""
    strips = (np.concatenate(list(film), axis=1) for film in films)
    return draw.pictures(name, {"iterations from left to right": zip(strips, captions, strict=True)})[0]
