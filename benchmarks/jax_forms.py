"""jaxviz, and JAX as one would write it without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import cores
from benchmarks.prepared import Prepared
from benchmarks.workloads import SEED, Workload


def prepare(
    workload: Workload, arrays: dict[str, np.ndarray], folder: Path, *, method: str, data_parallel: bool = False
) -> Prepared:
    """A method of jaxviz on one device, or on as many as there are cores; or the "plain" program.

    Even with one device, XLA spreads single operations over the cores.
    """
    jax.config.update("jax_default_matmul_precision", "highest")  # float32 throughout; on a CPU it is so anyway
    if data_parallel:
        jax.config.update("jax_num_cpu_devices", cores())
    import jaxviz  # after the number of devices is fixed

    model = jaxviz.load_model(workload.network, weights=folder / f"{workload.network}-jaxviz.safetensors")
    if data_parallel:  # once, as a user of many calls does
        mesh = jaxviz.data_parallel(jaxviz.saliency_maps).mesh
        model = jax.device_put(model, jax.NamedSharding(mesh, jax.P()))
    images, labels = jnp.asarray(arrays["images"]), jnp.asarray(arrays["labels"], jnp.int32)

    def spread(function: Callable[..., Any]) -> Callable[..., Any]:
        return jaxviz.data_parallel(function) if data_parallel else function

    if method == "plain":
        run = lambda: _plain_maps(model, images, labels)  # noqa: E731
        return Prepared(lambda: jax.block_until_ready(run()), lambda maps: {"maps": np.asarray(maps)})
    if method == "saliency":
        saliency_maps = spread(jaxviz.saliency_maps)
        run = lambda: saliency_maps(model, images, labels)  # noqa: E731
        return Prepared(lambda: jax.block_until_ready(run()), lambda maps: {"maps": np.asarray(maps)})
    if method == "fooling":
        fooling_images = spread(jaxviz.fooling_images)
        run = lambda: fooling_images(model, images, labels, max_steps=workload.steps)  # noqa: E731
    else:
        class_visualizations = spread(jaxviz.class_visualizations)
        run = lambda: class_visualizations(  # noqa: E731
            model, labels, key=jax.random.key(SEED), init_images=images, num_steps=workload.steps,
            bounds=jaxviz.images.IMAGENET_BOUNDS,
        )  # fmt: skip
    return Prepared(lambda: jax.block_until_ready(run()), _named)


def _named(result: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in result._asdict().items() if value is not None}


@jax.jit
def _plain_maps(model: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
    def score(images: jax.Array) -> jax.Array:
        return jnp.take_along_axis(model(images), labels[:, None], axis=1).sum()

    return jnp.abs(jax.grad(score)(images)).max(-1)
