"""Question 2, first limit: the maps are noisy, and what averaging does about it."""

from collections.abc import Mapping

import numpy as np

from jaxviz._methods import integrated_gradients, saliency, smooth_grad
from jaxviz.report._measures import one_level_noise, rank_correlation, roughness
from jaxviz.report._networks import in_chunks
from jaxviz.report._study import Measured, Study, Tick, normalized
from jaxviz.report._text import mean

TITLE = "A limit: noise"


def parts(study: Study) -> int:
    """How often `measure` ticks."""
    return 3 * len(study.networks)


def measure(
    study: Study,
    done: Mapping[str, Measured],
    *,
    tick: Tick,
    copies: int = 4,
    num_samples: int = 25,
    noise_scale: float = 0.5,
    num_steps: int = 25,
) -> Measured:
    """How far each kind of map is the same after a change of one level that nobody sees."""
    labels = np.asarray([explained["index"] for explained in done["photographs"].numbers["explained"]])
    n, random = len(labels), np.random.default_rng(study.seed)
    shaken = np.stack([[one_level_noise(picture, random) for picture in study.pixels] for _ in range(copies)])
    everything, repeated = np.concatenate([study.pixels[None], shaken]), np.tile(labels, copies + 1)
    flat = normalized(everything.reshape(-1, *everything.shape[2:]))
    plain_method, smooth_method = study.method(saliency.saliency_maps), study.method(smooth_grad.smooth_grad)
    integral_method = study.method(integrated_gradients.integrated_gradients)
    networks, maps = {}, {}
    for network in study.networks:
        plain = in_chunks(plain_method, network.model, flat, repeated, size=study.size)
        tick(f"{network.name}, gradient")
        smooth = in_chunks(
            smooth_method,
            network.model,
            flat,
            repeated,
            size=study.size,
            # noise of its own for each map: with the same one, the maps would agree for that reason alone
            each={"key": study.keys(len(flat))},
            num_samples=num_samples,
            noise_scale=noise_scale,
        )
        tick(f"{network.name}, SmoothGrad")
        again = in_chunks(
            smooth_method,
            network.model,
            flat[:n],
            labels,
            size=study.size,
            each={"key": study.keys(len(flat) + n)[len(flat) :]},
            num_samples=num_samples,
            noise_scale=noise_scale,
        )
        shares = in_chunks(integral_method, network.model, flat[:n], labels, size=study.size, num_steps=num_steps)
        tick(f"{network.name}, integrated gradients")
        kinds = {"gradient": plain, "SmoothGrad": smooth}
        probabilities = study.probabilities(network, everything.reshape(-1, *everything.shape[2:]))
        changed = np.abs(probabilities[n:].reshape(copies, n, -1) - probabilities[None, :n]).max((0, 2))
        networks[network.name] = [
            {
                kind: {
                    "rank_correlation": mean(
                        [rank_correlation(values[row], values[row + n * copy]) for copy in range(1, copies + 1)]
                    ),
                    "roughness": roughness(values[row]),
                }
                for kind, values in kinds.items()
            }
            | {
                "largest_change_of_probability": float(changed[row]),
                "rank_correlation_of_two_draws": rank_correlation(smooth[row], again[row]),
            }
            for row in range(n)
        ]
        maps[network.name] = {
            "gradient": plain[:n],
            "SmoothGrad": smooth[:n],
            "integrated gradients": np.abs(shares).sum(-1),
        }
    settings = {"copies": copies, "num_samples": num_samples, "noise_scale": noise_scale, "num_steps": num_steps}
    numbers = {"settings": settings, "explained": done["photographs"].numbers["explained"], "networks": networks}
    return Measured(numbers, maps)
