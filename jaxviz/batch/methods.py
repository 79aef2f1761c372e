"""The computation of a batch run, in batches of a fixed size, so that one compiled program is enough."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxviz import images
from jaxviz._core.model import Model, as_model, class_score
from jaxviz._core.sharding import data_parallel, jit_over_examples
from jaxviz._methods.class_visualization import class_visualizations
from jaxviz._methods.fooling import fooling_images
from jaxviz._methods.saliency import saliency_with_scores
from jaxviz._rewrite.batching import map_examples

Arrays = Mapping[str, np.ndarray]
SIDE = 224  # pixels, of the images of `saliency` and `fool`, and by default of `visualize`

# Items per device and batch. A CPU computes them one by one: enough items that the time between batches is negligible.
# An accelerator computes all of them at once.
_CPU_BATCH, _ACCELERATOR_BATCH = 16, 64


class Method(NamedTuple):
    """One method in two parts: asynchronous work on the devices, then work on the host.

    Attributes:
        start: (pixels (b, h, w, 3) uint8 or None, positions (b,) in the list, classes (b,) or None) -> device arrays.
        finish: the same arrays on the host -> (b,) values of the records, and arrays for the shard.
    """

    start: Callable[[Any, np.ndarray, Any], Any]
    finish: Callable[[Any], tuple[Arrays, Arrays]]


def of_name(name: str, model: Any, settings: Mapping[str, Any]) -> Method:
    """The method of a command, with the command's settings, on the devices of this process."""
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("batch",))
    model = jax.device_put(model, jax.NamedSharding(mesh, jax.P()))  # once, not in every batch
    options = {name: value for name, value in settings.items() if name not in ("label", "target")}
    if name == "saliency":
        return saliency(model)
    if name == "fool":
        return fool(model, **options)
    return visualize(model, **{"seed": 0, "size": SIDE, **options})


def batch_size(name: str, shard_size: int) -> int:
    """The number of items in a batch of the method, on the devices of this process."""
    devices = jax.local_devices()
    per_device = 1 if name == "visualize" else _CPU_BATCH if devices[0].platform == "cpu" else _ACCELERATOR_BATCH
    size = min(per_device * len(devices), shard_size)
    if name == "fool":  # equal parts: padding of the batch ends at once, but `data_parallel`'s own padding does not
        size += -size % len(devices)
    return size


def saliency(model: Model) -> Method:
    """Saliency maps of the given or predicted classes."""
    method = _everywhere(saliency_with_scores)

    def start(pixels: np.ndarray, places: np.ndarray, classes: np.ndarray | None) -> Any:
        return method(model, images.from_uint8(pixels), None if classes is None else jnp.asarray(classes))

    def finish(results: Any) -> tuple[Arrays, Arrays]:
        return (
            {
                "label": results.labels,
                "score": results.scores,
                "probability": results.probabilities,
                "norm": np.linalg.norm(results.maps.reshape(len(results.maps), -1), axis=1),
            },
            {"maps": results.maps},
        )

    return Method(start, finish)


def fool(model: Model, **options: Any) -> Method:
    """8-bit images that the model predicts as the given classes."""

    def fooled(model: Model, originals: Float[Array, "n h w 3"], targets: Int[Array, " n"]) -> Any:
        result = fooling_images(model, originals, targets, bounds=images.IMAGENET_BOUNDS, levels=256, **options)
        padding = (targets < 0)[:, None, None, None]
        return result._replace(images=jnp.where(padding, originals, result.images))  # padding would be NaN

    # Padding repeats the last item, with class -1, so that its loop ends at once. This needs `jax.jit`: outside, the
    # method raises an error for an unknown class.
    method, predictions = jax.jit(_everywhere(fooled)), _everywhere(_predictions)

    def start(pixels: np.ndarray, places: np.ndarray, classes: np.ndarray) -> Any:
        originals = images.from_uint8(pixels)
        padding = np.diff(places, prepend=-1) == 0
        result = method(model, originals, np.where(padding, -1, classes).astype(np.int32))
        before = predictions(model, originals, None)
        after = predictions(model, result.images, jnp.asarray(classes))
        return pixels, result._replace(images=images.to_uint8(result.images)), before, after

    def finish(results: Any) -> tuple[Arrays, Arrays]:
        pixels, result, before, after = results
        levels = result.images.astype(np.int64) - pixels
        levels = levels.reshape(len(levels), -1)
        return (
            {
                "label": before.labels,
                "target": after.labels,
                "score": after.scores,
                "probability": after.probabilities,
                "steps": result.steps,
                "fooled": result.fooled,
                "stalled": result.stalled,
                "l2_norm": np.linalg.norm(levels / 255, axis=1),
                "largest_change_in_levels": abs(levels).max(1),
            },
            {"images": result.images},
        )

    return Method(start, finish)


def visualize(model: Model, *, seed: int, size: int, **options: Any) -> Method:
    """8-bit class visualizations, each from its own noise."""
    method, predictions = _everywhere(class_visualizations), _everywhere(_predictions)

    def start(pixels: None, places: np.ndarray, classes: np.ndarray) -> Any:
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.asarray(places))
        shape = (size, size, 3)
        result = method(model, classes, key=keys, image_shape=shape, bounds=images.IMAGENET_BOUNDS, **options)
        return images.to_uint8(result.images), result.scores, predictions(model, result.images, jnp.asarray(classes))

    def finish(results: Any) -> tuple[Arrays, Arrays]:
        pictures, scores, predicted = results
        return (
            {"target": predicted.labels, "score": predicted.scores, "probability": predicted.probabilities},
            {"images": pictures, "scores": scores},
        )

    return Method(start, finish)


def _everywhere(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method on this process's devices; other processes have their own items."""
    return data_parallel(method, devices=jax.local_devices())


class _Predictions(NamedTuple):
    labels: Int[Array, " n"]
    scores: Float[Array, " n"]
    probabilities: Float[Array, " n"]


def _predictions(model: Model, images: Float[Array, "n h w c"], labels: Int[Array, " n"] | None) -> _Predictions:
    """Scores and probabilities of the given or predicted classes; NaN for an image that is not finite.

    A network may have finite scores for NaN: compiled on a CPU, max pooling treats NaN as the smallest number.
    """
    return _predicted(as_model(model), images, labels)


@jit_over_examples()
def _predicted(model: Model, images: Float[Array, "n h w c"], labels: Int[Array, " n"] | None) -> _Predictions:
    def one(image: Float[Array, "h w c"], label: Int[Array, ""] | None) -> _Predictions:
        score, scores = class_score(model, image, label)
        label = jax.lax.argmax(scores, 0, jnp.int32) if label is None else label
        score = jnp.where(jnp.isfinite(image).all(), score, jnp.nan)
        return _Predictions(label, score, jnp.where(jnp.isnan(score), jnp.nan, jax.nn.softmax(scores)[label]))

    return map_examples(one, images, labels)
