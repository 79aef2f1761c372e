"""Question 2, first limit: gradients are noisy. What does averaging change?"""

import jax
import numpy as np

from jaxviz import integrated_gradients, saliency_maps, smooth_grad
from jaxviz.figures import saliency_picture
from jaxviz.report.drawing import Picture
from jaxviz.report.metrics import one_level_noise, rank_correlation, roughness
from jaxviz.report.study import normalized
from jaxviz.report.text import mean, number

TITLE = "A limit: noise"
PAGES = {"noise": ("Question 2", TITLE)}
QUICK = {"copies": 1, "num_samples": 8, "num_steps": 8}


def measure(
    study,
    network,
    done,
    *,
    copies: int = 2,
    num_samples: int = 25,
    noise_scale: float = 0.5,
    num_steps: int = 25,
):
    """The rank correlation of each kind of map with itself after a change of one level, and its roughness."""
    labels, n, random = study.labels(done), len(study.photos), np.random.default_rng(study.seed)
    noisy = [[one_level_noise(photo.pixels, random) for photo in study.photos] for _ in range(copies)]
    pictures = np.concatenate([study.pixels, *noisy])
    repeated = np.tile(labels, copies + 1)
    plain = study.run(saliency_maps, network.model, normalized(pictures), repeated)
    smooth = study.run(
        smooth_grad,
        network.model,
        # the photographs once more at the end, for a second draw
        normalized(np.concatenate([pictures, study.pixels])),
        np.concatenate([repeated, labels]),
        # a key for each map: with equal noise, the maps would agree for that reason alone
        each={"key": jax.random.split(jax.random.key(study.seed), len(pictures) + n)},
        num_samples=num_samples,
        noise_scale=noise_scale,
    )
    path = study.run(integrated_gradients, network.model, normalized(study.pixels), labels, num_steps=num_steps)
    probabilities = study.probabilities(network, pictures).reshape(copies + 1, n, -1)
    changes = np.abs(probabilities[1:] - probabilities[:1]).max((0, 2))

    def stability(maps, row):
        correlations = [rank_correlation(maps[row], maps[row + n * copy]) for copy in range(1, copies + 1)]
        return {"rank_correlation": mean(correlations), "roughness": roughness(maps[row])}

    records = [
        {
            "gradient": stability(plain, row),
            "SmoothGrad": stability(smooth, row),
            "largest_change_of_probability": float(changes[row]),
            "rank_correlation_of_two_draws": rank_correlation(smooth[row], smooth[len(pictures) + row]),
        }
        for row in range(n)
    ]
    maps = {"gradient": plain[:n], "SmoothGrad": smooth[:n], "integrated gradients": np.abs(path).sum(-1)}
    return records, maps


def figures(study, network, numbers, arrays, draw):
    """The three kinds of maps, one below the other."""
    rows = []
    for kind, maps in arrays.items():
        row = []
        for photo, values, record in zip(study.photos, maps, numbers, strict=True):
            alt = f"{kind} of {photo.name}: a map of roughness {number(roughness(values))}"
            if kind in record:
                alt += f"; rank correlation under noise {number(record[kind]['rank_correlation'])}"
            name = f"noise-{draw.number}-{kind.replace(' ', '-').lower()}-{photo.name}"
            row.append(Picture(name, saliency_picture(values), f"{photo.name}, {kind}", f"{alt}."))
        rows.append(row)
    return {"maps": draw.pictures("noise", rows)}
