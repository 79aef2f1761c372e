"""What less precision changes: the three methods on real photographs, beside float32.

What a TPU or a GPU does to float32 by itself is emulated on a CPU: the operands of each convolution, forward and
backward, are rounded to as many bits as the matrix unit takes, and products are added up in float32. SqueezeNet has no
other product. The order of the additions is the CPU's, and the GPU's way of rounding may be another one.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from scipy.stats import rankdata

import jaxviz
from benchmarks import machine, results
from benchmarks.inputs import inputs
from benchmarks.workloads import SEED, Workload

CLIMB = Workload("class visualization, 8 classes, 200 steps", "visualization", 1, 8, steps=200)
# Bits of the significand that are stored, of a float32's 23
_BFLOAT16, _TENSORFLOAT32 = 7, 10
_CHANGE = 1e-6  # of the images: what is chaos, and no matter of precision
Arrays = dict[str, np.ndarray]


def run(file: Path, photographs: Path, *, climb: Workload = CLIMB) -> None:
    """Measures every precision, and writes the JSON.

    Args:
        file: the JSON.
        photographs: .npz of `X`, (n, 224, 224, 3) uint8 RGB, and `y`, their classes.
        climb: the class visualizations.

    Raises:
        OSError: there are no photographs.
    """
    jax.config.update("jax_default_matmul_precision", "highest")
    with np.load(photographs) as data:
        images, labels = np.asarray(jaxviz.images.from_uint8(data["X"])), data["y"].astype(np.int32)
    model = jaxviz.load_model("squeezenet1_1")
    start = inputs(climb, model)
    classes, noise = start["labels"].astype(np.int32), start["images"]
    measure = functools.partial(measured, labels=labels, classes=classes, num_steps=climb.steps)
    print("float32", flush=True)
    reference = measure(model, images, start=noise)
    record = {
        "machine": machine.description(),
        "date": machine.today(),
        "images": len(images),
        "classes": classes.tolist(),
        "num_steps": climb.steps,
        "reference": {name: reference[name].tolist() for name in ("steps", "fooled", "score")},
        "rows": [],
    }
    random = np.random.default_rng(SEED)

    def changed(x: np.ndarray) -> np.ndarray:
        return x * (1 + np.float32(_CHANGE) * random.standard_normal(x.shape, np.float32))

    load = functools.partial(jaxviz.load_model, "squeezenet1_1")
    forms = {
        "bfloat16": (load(dtype=jnp.bfloat16), images, noise),
        "float32, products of bfloat16": (rounded(load(), bits=_BFLOAT16), images, noise),
        "float32, products of TF32": (rounded(load(), bits=_TENSORFLOAT32), images, noise),
        f"float32, images changed by {_CHANGE:g}": (model, changed(images), changed(noise)),
    }
    for name, (form, pictures, starts) in forms.items():
        print(name, flush=True)
        found = measure(form, pictures, start=starts)
        record["rows"].append({"name": name, **compared(found, reference, model)})
        results.write(file, record)


def measured(
    model: Any, images: np.ndarray, *, start: np.ndarray, labels: np.ndarray, classes: np.ndarray, num_steps: int
) -> Arrays:
    """The results of the three methods, with their usual settings.

    Args:
        model: the classifier.
        images: (n, h, w, c), to explain, and to be fooled with.
        start: (m, h, w, c), to climb from.
        labels: (n,), to explain. The targets of the fooling are random.
        classes: (m,), to visualize.
        num_steps: of the climb.
    """
    num_classes = jax.eval_shape(model, jnp.asarray(images)).shape[1]
    targets = np.random.default_rng(SEED).integers(0, num_classes, len(images)).astype(np.int32)
    maps = jaxviz.saliency_maps(model, images, labels)
    fooling = jaxviz.fooling_images(model, images, targets)
    climb = jaxviz.class_visualizations(
        model, classes, key=jax.random.key(SEED), init_images=start, num_steps=num_steps,
        bounds=jaxviz.images.IMAGENET_BOUNDS,
    )  # fmt: skip
    found = {"maps": maps, **fooling._asdict(), "targets": targets, "score": climb.scores[:, -1]}
    return {name: np.asarray(array) for name, array in found.items()}


def compared(found: Arrays, reference: Arrays, model: Any) -> dict[str, Any]:
    """What a precision changed, image by image and class by class.

    Args:
        found: of `measured`.
        reference: the same in float32.
        model: the float32 classifier, which is shown the fooling images, too.
    """
    pairs = zip(found["maps"], reference["maps"], strict=True)
    seen = lax.map(lambda image: model(image[None])[0].argmax(), jnp.asarray(found["images"]))
    return {
        "correlations": [_rank_correlation(a, b) for a, b in pairs],
        "steps": found["steps"].tolist(),
        "fooled": found["fooled"].tolist(),
        "float32_fooled": (np.asarray(seen) == found["targets"]).tolist(),
        "score": found["score"].tolist(),
    }


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


def rounded(model: Any, *, bits: int) -> Any:
    """The network with its convolutions' operands rounded, of the input gradients' convolutions too."""

    def round_off(x: jax.Array) -> jax.Array:
        # not by way of bfloat16: XLA may leave out a conversion there and back
        return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=bits)

    @jax.custom_jvp
    def operand(x: jax.Array) -> jax.Array:
        return round_off(x)

    def operand_jvp(primals: Sequence[jax.Array], tangents: Sequence[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return round_off(*primals), tangents[0]  # a gradient is the result of a convolution, which is not rounded

    operand.defjvp(operand_jvp)

    @jax.custom_vjp
    def result(y: jax.Array) -> jax.Array:
        return y

    # what comes back to a convolution is an operand of the one that is its gradient
    result.defvjp(lambda y: (y, None), lambda _, cotangent: (round_off(cotangent),))

    def convolve(x: jax.Array, kernel: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        return result(lax.conv_general_dilated(operand(x), operand(kernel), *args, **kwargs))

    for _, module in nnx.iter_modules(model):
        if isinstance(module, nnx.Conv):
            module.conv_general_dilated = convolve
    return model
