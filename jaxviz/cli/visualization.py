"""The work of the command `visualize`: pictures of classes, or of a layer's channels."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jaxtyping import Array

from jaxviz import images, labels
from jaxviz._core.model import Model
from jaxviz._core.sharding import data_parallel
from jaxviz._methods.class_visualization import ClassVisualization, class_visualizations
from jaxviz._methods.parametrizations import fourier, maco
from jaxviz._rewrite.layers import capture
from jaxviz.cli.console import Job, Record
from jaxviz.cli.jobs import class_of, classify, first_entries, placed_model


def visualize(
    model: Model,
    targets: Sequence[int],
    output: Path,
    *,
    seed: int,
    size: int = 224,
    init_image: Path | None = None,
    layer: str | None = None,
    parametrization: str = "pixels",
    **options: Any,
) -> list[Job]:
    """Writes visualize-CLASS.png for each class or, with a layer, visualize-LAYER-CHANNEL.png for each channel."""
    method = data_parallel(class_visualizations)
    scored = model if layer is None else channels_of(model, layer)
    if parametrization == "pixels":
        options |= {"bounds": images.IMAGENET_BOUNDS}
    else:
        import optax

        make = {"fourier": (fourier(scale=0.1), 0.05), "maco": (maco(), 1.0)}
        options["parametrization"], rate = make[parametrization]
        options |= {"optimizer": optax.adam(rate), "l2_weight": 0}
    placed = placed_model(scored, method)

    def load(target: int) -> tuple[int, Array | None]:
        if init_image is None:
            return target, None
        return target, images.load(init_image, size=size, resize=max(size, 256))[0]

    def compute(loaded: list[tuple[int, Array | None]]) -> list[ClassVisualization]:
        indices, starts = zip(*loaded, strict=True)
        result = method(
            placed,
            indices,
            # depends only on the class and the seed, not on the other classes
            key=jnp.stack([jax.random.fold_in(jax.random.key(seed), 0)] * len(indices)),
            init_images=None if init_image is None else jnp.stack(starts),
            image_shape=(size, size, 3),
            **options,
        )
        made, scores = jax.device_get((result.images, result.scores))
        return [ClassVisualization(image, climb, None) for image, climb in zip(made, scores, strict=True)]

    def write(target: int, loaded: tuple[int, Array | None], result: ClassVisualization) -> Record:
        written = output / f"visualize-{name(target).replace(' ', '-').replace('/', '-')}.png"
        images.save(written, result.images)
        image = jnp.asarray(result.images)
        if layer is None:
            subject = {"target": class_of(model, image, target)}
        else:
            activation = float(jax.jit(scored)(image[None])[0, target])
            subject = {"layer": layer, "channel": target, "activation": activation}
            if activation == 0:
                subject["error"] = (
                    f"{name(target)}: inactive from the start, so its gradient is zero; take a layer before the ReLU, "
                    f"such as `--layer fires/7/expand3x3`, or another `--seed`"
                )
        return {
            **subject,
            "prediction": classify(model, image)[0],
            "seed": seed,
            "scores": [float(score) for score in result.scores],
            "output": [str(written)],
        }

    def name(target: int) -> str:
        return labels.name(target) if layer is None else f"{layer} {target}"

    return [
        Job(
            f"visualize {name(target)}",
            first_entries("visualize", init_image),
            partial(load, target),
            compute,
            partial(write, target),
        )
        for target in targets
    ]


def channels_of(model: Model, layer: str) -> Model:
    """A model whose classes are the channels of a layer: their mean activations."""

    def mean_activations(model: Model, batch: Array) -> Array:
        activations = capture(model, batch, [layer])[layer]
        return activations.mean(range(1, activations.ndim - 1))

    return Partial(mean_activations, model)
