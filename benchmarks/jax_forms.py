"""jaxviz, and JAX as one would write it without."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

import jaxviz
from benchmarks.resnet import resnet50
from benchmarks.worker import cores
from benchmarks.workloads import OCCLUSION, RISE, SEED, Prepared, Workload, scaled


def call_of(method: str, images: Any, labels: Any, steps: int) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    """The function of jaxviz, and its arguments beside the model."""
    if method == "saliency":
        return jaxviz.saliency_maps, (images, labels), {}
    if method == "grad_cam":
        return _grad_cam, (images, labels), {}
    if method == "guided":
        return _guided_maps, (images, labels), {}
    if method == "occlusion":
        return jaxviz.occlusion, (images, labels), dict(zip(("window", "stride"), OCCLUSION, strict=True))
    if method == "rise":
        cell, keep = RISE
        options = {"key": jax.random.key(SEED), "num_masks": steps, "cell": cell, "keep": keep}
        return jaxviz.rise, (images, labels), options
    if method == "fooling":
        return jaxviz.fooling_images, (images, labels), {"max_steps": steps}
    options = {"init_images": images, "num_steps": steps, "bounds": jaxviz.images.IMAGENET_BOUNDS}
    return jaxviz.class_visualizations, (labels,), {"key": jax.random.key(SEED), **options}


def _grad_cam(parts: Any, images: Any, labels: Any) -> jax.Array:
    features, head = parts
    return jaxviz.grad_cam(head, features(images), labels)


def _guided_maps(model: Any, images: Any, labels: Any) -> jax.Array:
    return jaxviz.saliency_maps(jaxviz.relu_rule(model, "guided"), images, labels)


def load(name: str, folder: Path, dtype: Any = jnp.float32) -> Any:
    """The network in JAX with the weights that were written."""
    if name == "resnet50":
        return resnet50(safetensors.numpy.load_file(folder / f"{name}-torchvision.safetensors"), dtype)
    return jaxviz.load_model(name, weights=folder / f"{name}-jaxviz.safetensors", dtype=dtype)


def prepare(
    workload: Workload, arrays: dict[str, np.ndarray], folder: Path, *, data_parallel: bool = False, plain: bool = False
) -> Prepared:
    """A method of jaxviz on one device, or on as many as there are cores; or saliency maps without jaxviz.

    Even with one device, XLA spreads single operations over the cores.
    """
    # float32 throughout, unless TF32 is asked for; on a CPU it is so anyway
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if workload.precision == "tf32" else "highest")
    if data_parallel:
        jax.config.update("jax_num_cpu_devices", cores())
    images, labels = jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"], jnp.int32)
    method, arguments, options = call_of(workload.method, images, labels, workload.steps)
    if plain:
        method = _plain_maps
    model = load(workload.network, folder, jnp.bfloat16 if workload.precision == "bfloat16" else jnp.float32)
    if workload.method == "grad_cam":
        model = jaxviz.split(model, images, "fire9")
    if data_parallel:
        method = jaxviz.data_parallel(method)
        model = jax.device_put(model, jax.NamedSharding(method.mesh, jax.P()))  # once, as a user of many calls does
    peak = (lambda: jax.devices()[0].memory_stats()["peak_bytes_in_use"]) if workload.device == "gpu" else None

    def arrays_of(result: Any) -> dict[str, np.ndarray]:
        named = _named(result)
        if workload.method == "grad_cam":
            named["maps"] = scaled(named["maps"], workload.size)
        if workload.method == "occlusion":
            named["maps"] = _mean_of_windows(named["maps"], workload.size)
        return named

    return Prepared(lambda: jax.block_until_ready(method(model, *arguments, **options)), arrays_of, peak)


def _mean_of_windows(maps: np.ndarray, size: int) -> np.ndarray:
    """The mean of the windows that cover each pixel, as captum has it."""
    window, stride = OCCLUSION
    total, count = np.zeros((len(maps), size, size), np.float32), np.zeros((size, size), np.float32)
    for i, j in np.ndindex(maps.shape[1:]):
        place = slice(i * stride, i * stride + window), slice(j * stride, j * stride + window)
        total[:, *place] += maps[:, i, j, None, None]
        count[place] += 1
    return total / count


def _named(result: Any) -> dict[str, np.ndarray]:
    fields = {"maps": result} if isinstance(result, jax.Array) else result._asdict()
    return {name: np.asarray(fields[name]) for name in ("maps", "steps", "fooled", "scores") if name in fields}


@jax.jit
def _plain_maps(model: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    def score(images: jax.Array) -> jax.Array:
        return jnp.take_along_axis(model(images), labels[:, None], axis=1).sum()

    return jnp.abs(jax.grad(score)(images)).max(-1)
