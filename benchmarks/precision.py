"""What less precision changes: the three methods on real photographs, compared with float32.

What a TPU or a GPU does to float32 by default is emulated on a CPU: the operands of each convolution, forward and
backward, are rounded to as many bits as the matrix unit takes, and products are summed in float32. SqueezeNet has no
other product. The order of the additions is the CPU's, and a GPU may round in another way.
"""

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from scipy.stats import spearmanr

import jaxviz
from benchmarks import results
from benchmarks.inputs import inputs
from benchmarks.workloads import SEED, Workload

_VISUALIZATION = Workload("class visualization, 8 classes, 200 steps", "visualization", 1, 8, steps=200)
_BFLOAT16, _TENSORFLOAT32 = 7, 10  # stored bits of the significand; a float32 has 23
_CHANGE = 1e-6  # of the images: shows how much of a difference is chaos rather than precision
Arrays = dict[str, np.ndarray]


def run(file: Path, photographs: Path) -> None:
    """Measures every precision on photographs, an .npz of X, (n, 224, 224, 3) uint8 RGB, and y, and writes the JSON."""
    jax.config.update("jax_default_matmul_precision", "highest")
    with np.load(photographs) as data:
        images, labels = np.asarray(jaxviz.images.from_uint8(data["X"])), data["y"].astype(np.int32)
    load = functools.partial(jaxviz.load_model, "squeezenet1_1")
    model, random = load(), np.random.default_rng(SEED)
    start = inputs(_VISUALIZATION, model)
    noise, classes = start["images"], start["labels"].astype(np.int32)
    pictures, noises = (
        x * (1 + np.float32(_CHANGE) * random.standard_normal(x.shape, np.float32)) for x in (images, noise)
    )
    measure = functools.partial(measured, labels=labels, classes=classes, num_steps=_VISUALIZATION.steps)
    reference = measure(model, images, start=noise)
    record = {
        "machine": results.machine(),
        "date": time.strftime("%Y-%m-%d"),
        "images": len(images),
        "classes": classes.tolist(),
        "num_steps": _VISUALIZATION.steps,
        "reference": {name: reference[name].tolist() for name in ("steps", "fooled", "score")},
        "rows": [],
    }
    # a GPU's own TF32, or its operands rounded
    tf32 = ("TF32", load(), "tensorfloat32", images, noise)
    if "gpu" not in record["machine"]:
        tf32 = ("float32, products of TF32", rounded(load(), bits=_TENSORFLOAT32), "highest", images, noise)
    for name, form, products, *arrays in (
        ("bfloat16", load(dtype=jnp.bfloat16), "highest", images, noise),
        ("float32, products of bfloat16", rounded(load(), bits=_BFLOAT16), "highest", images, noise),
        tf32,
        (f"float32, images changed by {_CHANGE:g}", model, "highest", pictures, noises),
    ):
        print(name, flush=True)
        with jax.default_matmul_precision(products):
            found = measure(form, arrays[0], start=arrays[1])
        results.write(file, record, {"name": name, **compared(found, reference, model)})


def measured(
    model: Any, images: np.ndarray, *, start: np.ndarray, labels: np.ndarray, classes: np.ndarray, num_steps: int
) -> Arrays:
    """Saliency maps of the labels, fooling with random targets, and the classes visualized from the images `start`."""
    num_classes = jax.eval_shape(model, jnp.asarray(images)).shape[1]
    targets = np.random.default_rng(SEED).integers(0, num_classes, len(images)).astype(np.int32)
    maps = jaxviz.saliency_maps(model, images, labels)
    fooling = jaxviz.fooling_images(model, images, targets)
    key, bounds = jax.random.key(SEED), jaxviz.images.IMAGENET_BOUNDS
    visualization = jaxviz.class_visualizations(
        model, classes, key=key, init_images=start, num_steps=num_steps, bounds=bounds
    )
    found = {"maps": maps, **fooling._asdict(), "targets": targets, "score": visualization.scores[:, -1]}
    return {name: np.asarray(array) for name, array in found.items()}


def compared(found: Arrays, reference: Arrays, model: Any) -> dict[str, Any]:
    """What a precision changed, by image and by class; `model`, in float32, also classifies its fooling images."""
    pairs = zip(found["maps"], reference["maps"], strict=True)
    classes = lax.map(lambda image: model(image[None])[0].argmax(), jnp.asarray(found["images"]))
    return {
        "correlations": [float(np.asarray(spearmanr(a.ravel(), b.ravel()))[0]) for a, b in pairs],
        "steps": found["steps"].tolist(),
        "fooled": found["fooled"].tolist(),
        "float32_fooled": (np.asarray(classes) == found["targets"]).tolist(),
        "score": found["score"].tolist(),
    }


def summary(row: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """The figures of a precision, from its lists by image and by class and those of float32."""
    fooled, expected = np.array(row["fooled"]), np.array(reference["fooled"])
    both = fooled & expected
    changes = (np.array(row["steps"]) - np.array(reference["steps"]))[both]
    scores = np.array(row["score"]), np.array(reference["score"])
    gains = scores[0] / scores[1] - 1
    return {
        "float32_steps": np.median(np.array(reference["steps"])[expected]),
        "correlation": np.median(row["correlations"]),
        "least_correlation": min(row["correlations"]),
        "steps": np.quantile(changes, [0.5, 0.25, 0.75]).tolist() if both.any() else [np.nan] * 3,
        "same_steps": (changes == 0).mean(),
        "same_outcome": (fooled == expected).mean(),
        "float32_fooled": (np.array(row["float32_fooled"]) & fooled).sum() / max(fooled.sum(), 1),
        "score": [np.median(gains), gains.min(), gains.max()],
        "mean_score": scores[0].mean() / scores[1].mean() - 1,
    }


def rounded(model: Any, *, bits: int) -> Any:
    """The network with the operands of its convolutions rounded, those of the input gradients included."""

    def round_off(x: jax.Array) -> jax.Array:
        # not by a cast to bfloat16 and back, which XLA may leave out
        return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=bits)

    def operand_jvp(primals: Sequence[jax.Array], tangents: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return round_off(*primals), tangents[0]  # a gradient is the result of a convolution, which is not rounded

    operand = jax.custom_jvp(round_off)
    operand.defjvp(operand_jvp)
    result = jax.custom_vjp(lambda y: y)
    # what comes back to a convolution is an operand of the one that is its gradient
    result.defvjp(lambda y: (y, None), lambda _, cotangent: (round_off(cotangent),))

    def convolve(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        return result(lax.conv_general_dilated(operand(x), operand(kernel), *args, **kwargs))

    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = convolve
    return model
