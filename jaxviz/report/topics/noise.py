"""Question 2, first limit: gradients are noisy. What does averaging change?"""

import jax
import numpy as np

from jaxviz import integrated_gradients, saliency_maps, smooth_grad
from jaxviz.figures import saliency_picture
from jaxviz.report.metrics import one_level_noise, rank_correlation, roughness
from jaxviz.report.study import normalized

TITLE = "A limit: noise"
PAGES = {"noise": ("Question 2", TITLE)}
QUICK = {"num_samples": 4, "num_steps": 4}


def measure(study, network, done, *, num_samples: int = 16, noise_scale: float = 0.5, num_steps: int = 16):
    """The rank correlation of each kind of map with itself after a change of one level, and its roughness."""
    labels, n, random = study.labels(done), len(study.photos), np.random.default_rng(study.seed)
    noisy = [one_level_noise(picture, random) for picture in study.pixels]
    # the photographs once more at the end, for a second draw of SmoothGrad
    pictures, labels = np.concatenate([study.pixels, noisy, study.pixels]), np.tile(labels, 3)
    plain = study.run(saliency_maps, network.model, normalized(pictures[: 2 * n]), labels[: 2 * n])
    # a key for each map: with equal noise, the maps would agree for that reason alone
    keys = jax.random.split(jax.random.key(study.seed), 3 * n)
    settings = {"num_samples": num_samples, "noise_scale": noise_scale}
    smooth = study.run(smooth_grad, network.model, normalized(pictures), labels, each={"key": keys}, **settings)
    path = study.run(integrated_gradients, network.model, normalized(study.pixels), labels[:n], num_steps=num_steps)
    probabilities = study.probabilities(network, pictures[: 2 * n])
    records = [
        {
            "gradient": _stability(plain[row], plain[row + n]),
            "SmoothGrad": _stability(smooth[row], smooth[row + n]),
            "largest_change_of_probability": float(np.abs(probabilities[row + n] - probabilities[row]).max()),
            "rank_correlation_of_two_draws": rank_correlation(smooth[row], smooth[row + 2 * n]),
        }
        for row in range(n)
    ]
    maps = {"gradient": plain[:n], "SmoothGrad": smooth[:n], "integrated gradients": np.abs(path).sum(-1)}
    return records, maps


def _stability(before, after):
    return {"rank_correlation": rank_correlation(before, after), "roughness": roughness(before)}


def figures(study, network, numbers, arrays, draw):
    """The three kinds of maps, one below the other."""
    captions = {kind: [f"{photo.name}, {kind}" for photo in study.photos] for kind in arrays}
    rows = {kind: zip(map(saliency_picture, maps), captions[kind], strict=True) for kind, maps in arrays.items()}
    return {"maps": draw.pictures("noise", rows)}
