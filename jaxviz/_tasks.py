"""What the command line does with one image or one class: compute, write the files, return the record of it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxviz import figures, images, labels
from jaxviz._class_visualization import class_visualizations
from jaxviz._fooling import fooling_images
from jaxviz._model import Model
from jaxviz._saliency import saliency_maps

_GAIN = 10.0  # of the magnified difference


@jax.jit
def _scores(model: Model, batch: Float[Array, "n h w c"]) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    scores = model(batch)
    return scores, jax.nn.softmax(scores)


def classify(model: Model, image: Float[Array, "h w c"], *, top: int = 1) -> list[dict[str, Any]]:
    """The most probable classes of an image, the first one first."""
    scores, probabilities = (np.asarray(values[0]) for values in _scores(model, image[None]))
    order = np.argsort(-scores, kind="stable")[:top].tolist()
    return [_class_record(index, scores, probabilities) for index in order]


def class_of(model: Model, image: Float[Array, "h w c"], index: int) -> dict[str, Any]:
    """Score and probability of one class."""
    scores, probabilities = (np.asarray(values[0]) for values in _scores(model, image[None]))
    return _class_record(index, scores, probabilities)


def _class_record(index: int, scores: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    return {
        "index": index,
        "name": labels.name(index),
        "score": float(scores[index]),
        "probability": float(probabilities[index]),
    }


def _caption(record: dict[str, Any]) -> str:
    return f"{record['name']}, {record['probability']:.1%}"


def predict(model: Model, path: Path, *, top: int, resize: int) -> dict[str, Any]:
    """The most probable classes of an image file."""
    return {"classes": classify(model, images.load(path, resize=resize)[0], top=top)}


def saliency(model: Model, path: Path, stem: str, output: Path, *, label: int | None, resize: int) -> dict[str, Any]:
    """STEM-saliency.png, for the given class or else the predicted one."""
    image = images.load(path, resize=resize)
    found = classify(model, image[0])[0] if label is None else class_of(model, image[0], label)
    maps = saliency_maps(model, image, jnp.array([found["index"]]))
    written = output / f"{stem}-saliency.png"
    figures.save(written, figures.saliency_figure(image, maps, [_caption(found)]))
    return {"class": found, "largest": float(maps.max()), "output": [str(written)]}


def fool(
    model: Model, path: Path, stem: str, output: Path, *, target: int, resize: int = 256, **options: Any
) -> dict[str, Any]:
    """STEM-fooled.png, the 8-bit image as it is, and STEM-fooling.png, what was changed.

    Whether the model is fooled is decided by the file: it is read back from disk and classified.
    """
    image = images.load(path, resize=resize)
    result = fooling_images(model, image, jnp.array([target]), bounds=images.IMAGENET_BOUNDS, levels=256, **options)
    fooled_file, figure_file = output / f"{stem}-fooled.png", output / f"{stem}-fooling.png"
    images.save(fooled_file, result.images[0])
    side = image.shape[1]
    read_back = images.load(fooled_file, size=side, resize=side)
    original, fooled = (np.asarray(images.to_uint8(batch[0])) for batch in (image, read_back))
    changes = [figures.difference_picture(original, fooled, gain=gain) for gain in (1.0, _GAIN)]
    seen = [classify(model, images.from_uint8(picture))[0] for picture in (original, fooled, *changes)]
    levels = fooled.astype(int) - original
    largest, norm = int(abs(levels).max()), float(np.sqrt(np.square(levels / 255).sum()))
    captions = [_caption(found) for found in seen]
    captions[2] += f"\nat most {largest} of 255 levels"
    captions[3] += f"\n{_GAIN:g} times, ‖difference‖₂ = {norm:.2f}"
    figures.save(figure_file, figures.fooling_figure([original, fooled, *changes], captions))
    success = bool(result.fooled[0]) and seen[1]["index"] == target
    record = {
        "original": seen[0],
        "fooled": seen[1],
        "target": class_of(model, read_back[0], target),
        "success": success,
        "stalled": bool(result.stalled[0]),
        "steps": int(result.steps[0]),
        "largest_change_in_levels": largest,
        "l2_change": norm,
        "output": [str(fooled_file), str(figure_file)],
    }
    if not success:
        reason = "its gradient became zero" if record["stalled"] else "raise --max-steps or --step-size"
        record["error"] = f"{path}: not {labels.name(target)} after {record['steps']} steps; {reason}"
    return record


def visualize(
    model: Model, target: int, output: Path, *, seed: int, size: int = 224, init_image: Path | None, **options: Any
) -> dict[str, Any]:
    """visualize-CLASS.png, the generated image as it is."""
    start = None if init_image is None else images.load(init_image, size=size, resize=max(size, 256))
    result = class_visualizations(
        model,
        jnp.array([target]),
        key=jax.random.key(seed),
        init_images=start,
        image_shape=(size, size, 3),
        bounds=images.IMAGENET_BOUNDS,
        **options,
    )
    written = output / f"visualize-{labels.name(target).replace(' ', '-').replace('/', '-')}.png"
    images.save(written, result.images[0])
    return {
        "target": class_of(model, result.images[0], target),
        "seed": seed,
        "scores": [float(score) for score in result.scores[0]],
        "output": [str(written)],
    }
