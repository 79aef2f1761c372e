"""The work of the commands for each image or class: read, compute, write files and a record."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxviz import figures, images, labels
from jaxviz._core.files import stems
from jaxviz._core.model import Model
from jaxviz._core.sharding import DataParallel, data_parallel
from jaxviz._methods.fooling import FoolingResult, fooling_images
from jaxviz._methods.saliency import saliency_maps
from jaxviz.cli.attribution import Method
from jaxviz.cli.console import Job, Record

_GAIN = 10.0  # factor of the magnified difference


@jax.jit
def _scores(model: Model, batch: Float[Array, "n h w c"]) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
    scores = model(batch)
    return scores, jax.nn.softmax(scores)


def classify(model: Model, image: Float[Array, "h w c"], *, top: int = 1) -> list[Record]:
    """The most probable classes of an image, in descending order."""
    scores, probabilities = (np.asarray(values[0]) for values in _scores(model, image[None]))
    order = np.argsort(-scores, kind="stable")[:top].tolist()
    return [_class_record(index, scores, probabilities) for index in order]


def class_of(model: Model, image: Float[Array, "h w c"], index: int) -> Record:
    """Score and probability of one class."""
    scores, probabilities = (np.asarray(values[0]) for values in _scores(model, image[None]))
    return _class_record(index, scores, probabilities)


def _class_record(index: int, scores: np.ndarray, probabilities: np.ndarray) -> Record:
    return {
        "index": index,
        "name": labels.name(index),
        "score": float(scores[index]),
        "probability": float(probabilities[index]),
    }


def _caption(record: Record) -> str:
    return f"{record['name']}, {record['probability']:.1%}"


def predict(model: Model, paths: Sequence[Path], *, top: int, resize: int) -> list[Job]:
    """The most probable classes of each image file."""

    def load(path: Path) -> Float[Array, "h w c"]:
        return images.load(path, resize=resize)[0]

    def compute(loaded: list[Array]) -> list[list[Record]]:
        return [classify(model, image, top=top) for image in loaded]

    def write(image: Array, classes: list[Record]) -> Record:
        return {"classes": classes}

    return [Job(path.name, {"file": str(path)}, partial(load, path), compute, write) for path in paths]


def saliency(
    model: Model,
    paths: Sequence[Path],
    output: Path,
    *,
    method: Method = saliency_maps,
    name: str = "gradient",
    label: int | None = None,
    resize: int = 256,
) -> list[Job]:
    """Writes STEM-saliency.png for each image file, for the given class or the prediction."""
    about = {"method": "saliency", "map": name}
    return _maps(model, paths, output, method, figures.saliency_figure, about, label=label, resize=resize)


def cam(
    model: Model,
    paths: Sequence[Path],
    output: Path,
    *,
    method: Method,
    about: Record,
    label: int | None = None,
    resize: int = 256,
) -> list[Job]:
    """Writes STEM-cam.png for each image file, for the given class or the prediction."""
    about = {"method": "cam", **about}
    return _maps(model, paths, output, method, figures.cam_figure, about, label=label, resize=resize)


def _maps(
    model: Model,
    paths: Sequence[Path],
    output: Path,
    method: Method,
    figure: Callable[..., Any],
    about: Record,
    *,
    label: int | None,
    resize: int,
) -> list[Job]:
    method, kind = data_parallel(method), about["method"]
    placed = placed_model(model, method)

    def load(path: Path) -> tuple[Array, Record]:
        image = images.load(path, resize=resize)[0]
        return image, classify(model, image)[0] if label is None else class_of(model, image, label)

    def compute(loaded: list[tuple[Array, Record]]) -> np.ndarray:
        pictures, classes = zip(*loaded, strict=True)
        return jax.device_get(method(placed, jnp.stack(pictures), [record["index"] for record in classes]))

    def write(stem: str, loaded: tuple[Array, Record], saliency_map: np.ndarray) -> Record:
        image, class_record = loaded
        written = output / f"{stem}-{kind}.png"
        figures.save(written, figure(image[None], saliency_map[None], [_caption(class_record)]))
        return {"class": class_record, "largest": float(saliency_map.max()), "output": [str(written)]}

    return [
        Job(f"{kind} {path.name}", {**about, "file": str(path)}, partial(load, path), compute, partial(write, stem))
        for path, stem in zip(paths, stems(paths), strict=True)
    ]


def fool(
    model: Model, paths: Sequence[Path], output: Path, *, target: int, resize: int = 256, **options: Any
) -> list[Job]:
    """Writes STEM-fooled.png, the 8-bit image, and STEM-fooling.png, a figure of the perturbation.

    Success is measured on the file: it is read back from disk and classified.
    """
    method = data_parallel(fooling_images)
    placed = placed_model(model, method)

    def load(path: Path) -> Array:
        return images.load(path, resize=resize)[0]

    def compute(loaded: list[Array]) -> list[FoolingResult]:
        result = method(
            placed, jnp.stack(loaded), [target] * len(loaded), bounds=images.IMAGENET_BOUNDS, levels=256, **options
        )
        return [FoolingResult(*one) for one in zip(*jax.device_get(result), strict=True)]

    def write(stem: str, path: Path, image: Array, result: FoolingResult) -> Record:
        fooled_file, figure_file = output / f"{stem}-fooled.png", output / f"{stem}-fooling.png"
        images.save(fooled_file, result.images)
        side = image.shape[0]
        read_back = images.load(fooled_file, size=side, resize=side)[0]
        original, fooled = (np.asarray(images.to_uint8(picture)) for picture in (image, read_back))
        changes = [figures.difference_picture(original, fooled, gain=gain) for gain in (1.0, _GAIN)]
        predictions = [classify(model, images.from_uint8(picture))[0] for picture in (original, fooled, *changes)]
        levels = fooled.astype(int) - original
        largest, norm = int(abs(levels).max()), float(np.sqrt(np.square(levels / 255).sum()))
        captions = [_caption(prediction) for prediction in predictions]
        captions[2] += f"\nat most {largest} of 255 levels"
        captions[3] += f"\n{_GAIN:g} times, ‖difference‖₂ = {norm:.2f}"
        figures.save(figure_file, figures.fooling_figure([original, fooled, *changes], captions))
        success = bool(result.fooled) and predictions[1]["index"] == target
        record = {
            "original": predictions[0],
            "fooled": predictions[1],
            "target": class_of(model, read_back, target),
            "success": success,
            "stalled": bool(result.stalled),
            "steps": int(result.steps),
            "largest_change_in_levels": largest,
            "l2_norm": norm,
            "output": [str(fooled_file), str(figure_file)],
        }
        if not success:
            reason = "its gradient became zero" if record["stalled"] else "raise --max-steps or --step-size"
            record["error"] = f"{path}: not {labels.name(target)} after {record['steps']} steps; {reason}"
        return record

    return [
        Job(f"fool {path.name}", first_entries("fool", path), partial(load, path), compute, partial(write, stem, path))
        for path, stem in zip(paths, stems(paths), strict=True)
    ]


def placed_model(model: Model, method: DataParallel[..., Any]) -> Model:
    """The model, copied once to every device of the method, instead of in every call."""
    return jax.device_put(model, jax.NamedSharding(method.mesh, jax.P()))


def first_entries(method: str, path: Path | None) -> Record:
    """The first entries of a record."""
    return {"method": method, "file": None if path is None else str(path)}
