"""Questions 8 to 11: class visualizations, their settings, their starts, and those of other networks."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import class_visualizations, images
from jaxviz.report.drawing import Picture, curves
from jaxviz.report.metrics import roughness
from jaxviz.report.study import normalized, prediction
from jaxviz.report.text import listed, number, percent, plural

TITLE = "Class visualizations"
PAGES = {
    "visualization": ("Question 8", "Class visualization from noise"),
    "settings": ("Question 9", "Iterations, learning rate, regularization weight"),
    "transformation": ("Question 10", "Class visualization from a photograph"),
    "others": ("Question 11", "The same with another network"),
}
QUICK = {"num_steps": 40, "step_sizes": (5.0, 25.0), "l2_weights": (1e-3, 1.0)}
_DEFAULT = (5.0, 1e-3)  # the practical's step size and weight
_STILLS = 6


def measure(
    study,
    network,
    done,
    *,
    num_steps: int = 200,
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
    settings = list(dict.fromkeys(defaults + (grid if network is study.networks[0] else [])))
    targets, names, sizes, weights = map(list, zip(*settings, strict=True))
    result = study.run(
        class_visualizations,
        network.model,
        np.asarray(targets),
        at_once=len(settings),
        each={
            "key": jnp.stack([key] * len(settings)),
            "init_images": jnp.stack([starts[name] for name in names]),
            "step_size": jnp.asarray(sizes, jnp.float32),
            "l2_weight": jnp.asarray(weights, jnp.float32),
        },
        num_steps=num_steps,
        max_jitter=max_jitter,
        bounds=images.IMAGENET_BOUNDS,
        snapshot_every=snapshot_every,
    )
    films, final = (np.asarray(images.to_uint8(values)) for values in (result.snapshots, result.images))
    probabilities = {other.name: study.probabilities(other, final) for other in study.networks}
    own = probabilities.pop(network.name)
    runs = [
        {
            "target": prediction(own[row], target),
            "start": start,
            "step_size": step_size,
            "l2_weight": l2_weight,
            "default": row < len(defaults),
            "prediction": prediction(own[row]),
            "scores": result.scores[row].tolist(),
            "iterations_to_nine_tenths": _iterations_to_nine_tenths(result.scores[row]),
            "roughness": roughness(final[row].mean(-1)),
            "share_at_limits": float(np.isin(final[row], (0, 255)).mean()),
            "other_models": {name: float(values[row, target]) for name, values in probabilities.items()},
        }
        for row, (target, start, step_size, l2_weight) in enumerate(settings)
    ]
    first = np.stack([np.asarray(images.to_uint8(starts[name])) for name in names])[:, None]
    return runs, {"films": np.concatenate([first, films], axis=1), "every": snapshot_every, "grid": grid}


def _iterations_to_nine_tenths(scores) -> int | None:
    """The iteration at which the score has made nine tenths of its gain; None without a gain."""
    gain = scores[-1] - scores[0]
    return int(np.argmax(scores - scores[0] >= 0.9 * gain)) if gain > 0 else None


def _rises_in_second_half(scores) -> bool:
    """Whether the score rises by more than 5 % from half of the iterations on."""
    return scores[-1] > 1.05 * scores[len(scores) // 2]


def figures(study, network, runs, arrays, draw):
    """Films and scores of the default settings, and for the first network stills and the grid of settings."""
    films, every = arrays["films"], arrays["every"]
    default = {start: [] for start in ("noise", "photograph")}
    for row, run in enumerate(runs):
        if run["default"]:
            default["noise" if run["start"] == "noise" else "photograph"].append(row)
    figures = {
        f"{start}_last": [_last(run_row, runs, films, network.name, draw) for run_row in rows]
        for start, rows in default.items()
    }
    if network is not study.networks[0]:
        return figures
    for start, rows in default.items():
        figures[start] = [_film(row, runs[row], films[row], every, network.name, draw) for row in rows]
        figures[f"{start}_scores"] = _scores(start, [runs[row] for row in rows], draw)
    figures["steps"] = [f"iteration {place * every}" for place in range(films.shape[1])]
    figures["stills"] = [_stills(row, runs[row], films[row], every, draw) for row in default["photograph"]]
    return figures | _grid(runs, films, every, draw, arrays["grid"])


def _caption(run) -> str:
    return f"{run['target']['name']} from {run['start']}: {percent(run['target']['probability'])}"


def _film(row, run, film, every, name, draw):
    score = number(run["scores"][-1], 1)
    alt = f"{run['target']['name']} from {run['start']}, {name}: every {every}th iteration; final score {score}."
    return draw.film(f"visualization-{row}", film, caption=_caption(run), alt=alt)


def _last(row, runs, films, name, draw):
    alt = f"{_caption(runs[row])}, made with {name}."
    picture = Picture(f"visualization-{draw.number}-{row}", films[row][-1], f"{name}: {_caption(runs[row])}", alt)
    return draw.picture(picture)


def _stills(row, run, film, every, draw):
    places = sorted({round(place) for place in np.linspace(0, len(film) - 1, min(_STILLS, len(film)))})
    line = []
    for place in places:
        alt = f"{run['start']} to {run['target']['name']} after {plural(place * every, 'iteration')}."
        line.append(Picture(f"sequence-{row}-{place}", film[place], f"iteration {place * every}", alt))
    return draw.pictures(f"sequence-{row}", [line])


def _scores(start, runs, draw):
    lines = {f"{run['target']['name']} from {run['start']}": run["scores"] for run in runs}

    def plot(axes, palette):
        x = np.arange(len(runs[0]["scores"]))
        curves(axes, palette, x, lines, labels=("iteration", "score of the class"))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(bottom=min(0, *map(min, lines.values())))

    ends = listed(f"{name} from {number(y[0], 1)} to {number(y[-1], 1)}" for name, y in lines.items())
    return draw.plot(f"{start}-scores", plot, alt=f"Score over the iterations: {ends}.")


def _grid(runs, films, every, draw, grid):
    """The settings in rows of equal step size; each film has the snapshots that the table names."""
    rows = {
        (run["target"]["index"], run["start"], run["step_size"], run["l2_weight"]): row for row, run in enumerate(runs)
    }
    frames = films.shape[1] - 1
    places = sorted({round(frames * share) for share in (0.125, 0.25, 0.5, 1)} - {0})
    steps = [place * every for place in places]
    strips, table, sheet = [], [], {}
    for row in (rows[setting] for setting in grid):
        run, target = runs[row], percent(runs[row]["target"]["probability"])
        caption = f"η {run['step_size']:g}, λ {run['l2_weight']:g}: {target}"
        scores = [run["scores"][min(step, len(run["scores"])) - 1] for step in steps]
        alt = f"{run['target']['name']}, {caption} after {steps[-1]} iterations; roughness {number(run['roughness'])}."
        name = f"grid-{run['step_size']:g}-{run['l2_weight']:g}".replace(".", "_")
        strips.append(draw.picture(Picture(name, np.concatenate(list(films[row][places]), axis=1), caption, alt)))
        sheet.setdefault(run["step_size"], []).append(Picture(f"{name}-last", films[row][-1], caption, alt))
        late = {"final_score": run["scores"][-1], "rises_in_second_half": _rises_in_second_half(run["scores"])}
        table.append({**run, **late, "scores": scores})
    pictures = draw.pictures("grid", list(sheet.values()))
    columns = len(next(iter(sheet.values())))
    return {"grid": {"strips": strips, "table": table, "steps": steps, "sheet": pictures["sheet"], "columns": columns}}
