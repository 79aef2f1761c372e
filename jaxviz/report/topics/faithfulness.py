"""Question 2, second limit: maps are local and linear. Do they find the pixels that the prediction depends on?"""

from collections.abc import Sequence

import numpy as np
from jax import lax

from jaxviz import deletion_curve, insertion_curve
from jaxviz._core.model import class_gradient, class_score, l2_norm, l2_normalize
from jaxviz._core.sharding import jit_over_examples
from jaxviz._rewrite.batching import map_examples
from jaxviz.report.metrics import centre_map
from jaxviz.report.study import normalized
from jaxviz.report.text import number

TITLE = "A limit: local and linear"
PAGES = {"faithfulness": ("Question 2", TITLE)}
QUICK = {"num_steps": 7}
MAPS = ("gradient", "SmoothGrad", "integrated gradients", "guided backpropagation", "Grad-CAM")
CONTROLS = ("centre first", "random")


def measure(
    study,
    network,
    done,
    *,
    num_steps: int = 14,
    distances: Sequence[float | int] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
):
    """Scores along the gradient; deletion and insertion curves of each map, of the centre and of a random order."""
    labels, images = study.labels(done), normalized(study.pixels)
    steps = np.asarray([0, *distances], np.float32)
    scores, slopes = study.run(along_gradient, network.model, images, labels, distances=steps)
    shares = (scores[:, 1:] - scores[:, :1]) / np.maximum(slopes[:, None] * np.asarray(distances), 1e-9)
    centre = np.broadcast_to(centre_map(images.shape[1:]), images.shape[:3])
    noise = np.random.default_rng(study.seed).random(images.shape[:3], np.float32)
    maps = done["saliency"].arrays[network.name] | done["noise"].arrays[network.name]
    orders = {kind: maps[kind] for kind in MAPS} | {"centre first": centre, "random": noise}
    tangent = {"scores": scores.tolist(), "slopes": slopes.tolist(), "shares_of_predicted_gain": shares.tolist()}
    numbers = {"tangent": {**tangent, "median_share": np.median(shares, axis=0).tolist()}, "verdicts": {}}
    examples = np.tile(images, (len(orders), 1, 1, 1)), np.tile(labels, len(orders)), np.concatenate([*orders.values()])
    for kind, method, sign in (("deletion", deletion_curve, -1), ("insertion", insertion_curve, 1)):
        result = study.run(method, network.model, *examples, num_steps=num_steps, baseline=0.0)
        curves = zip(orders, *(np.split(values, len(orders)) for values in result[1:]), strict=True)
        numbers[kind] = {
            order: {"probabilities": probabilities.tolist(), "auc": auc.tolist(), "mean_auc": float(auc.mean())}
            for order, probabilities, auc in curves
        }
        numbers["verdicts"][kind] = verdict(numbers[kind], sign)
    return numbers, {"distances": distances, "steps": np.linspace(0, 100, num_steps + 1)}


@jit_over_examples()
def along_gradient(model, images, labels, *, distances):
    """The label's score at x + t u for each distance t, with u the gradient of length 1; and the gradient's norm."""

    def follow(image, label):
        _, _, gradient = class_gradient(model, image, label)
        direction = l2_normalize(gradient)
        scores = lax.map(lambda t: class_score(model, image + t * direction, label)[0], distances)
        return scores, l2_norm(gradient)

    return map_examples(follow, images, labels)


def verdict(orders, sign: int):
    """The best map, the better control, and how often the map wins. `sign` is 1 where a large area is good, else -1."""
    means = {order: sign * curve["mean_auc"] for order, curve in orders.items()}
    best, control = max(MAPS, key=means.__getitem__), max(CONTROLS, key=means.__getitem__)
    wins = sum(sign * a > sign * b for a, b in zip(orders[best]["auc"], orders[control]["auc"], strict=True))
    better = [order for order in MAPS if means[order] > means[control]]
    return {"best_map": best, "better_control": control, "wins": wins, "maps_above_controls": better}


def figures(study, network, numbers, arrays, draw):
    """The gain of the score along the gradient, and the mean curves with their areas."""
    distances, tangent = arrays["distances"], numbers["tangent"]
    median, shares = (100 * np.asarray(tangent[key]) for key in ("median_share", "shares_of_predicted_gain"))

    def adjust(axes):
        axes.plot(distances, shares.T, color="C1", linestyle="-", marker="", alpha=0.4, linewidth=1)
        axes.set_xscale("log", base=2)
        axes.set_xticks(distances, [f"{t:g}" for t in distances])

    lines = {"predicted by the tangent": np.full(len(distances), 100), "the network, median": median}
    labels = ("distance t along the gradient", "gain of the score, % of predicted")
    plots = {"tangent": draw.plot("tangent", distances, lines, labels, adjust)}
    for kind, verb in (("deletion", "deleted"), ("insertion", "inserted")):
        lines = {
            f"{order}, area {number(curve['mean_auc'], 3)}": np.mean(curve["probabilities"], axis=0)
            for order, curve in numbers[kind].items()
        }
        plots[kind] = draw.plot(kind, arrays["steps"], lines, (f"pixels {verb}, %", "mean probability"))
    return plots
