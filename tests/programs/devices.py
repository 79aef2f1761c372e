"""The three methods over all devices of all processes, on SqueezeNet; the first process writes what they found.

Arguments: this process's number, how many there are, devices in each, the port of the first one, the file to write.
"""

import sys

import jax

process, processes, devices, port = map(int, sys.argv[1:5])
jax.config.update("jax_num_cpu_devices", devices)
if processes > 1:
    jax.distributed.initialize(f"localhost:{port}", processes, process)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import skimage.data  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402
from jax.sharding import NamedSharding, PartitionSpec  # noqa: E402

import jaxviz  # noqa: E402

assert jax.device_count() == processes * devices
model = jaxviz.load_model("squeezenet1_1")
photograph = skimage.data.chelsea()
pieces = np.stack([photograph[8 * i : 8 * i + 224, 30 * i : 30 * i + 224] for i in range(8)])
images = np.asarray(jaxviz.images.from_uint8(pieces))
scores = jax.jit(lambda model, images: model(images))(model, images)
targets = np.argsort(-np.asarray(scores), axis=1)[:, 100].astype(np.int32)  # some are near, some far
uneven = slice(0, 5)

key = jax.random.key(0)


def found_on(devices):
    """All results as NumPy arrays, by their names."""
    saliency_maps, fooling_images, class_visualizations = (
        jaxviz.data_parallel(method, devices=devices)
        for method in (jaxviz.saliency_maps, jaxviz.fooling_images, jaxviz.class_visualizations)
    )

    def placed(array):
        """As a user has it who reads a part of the batch in each process."""
        sharding = NamedSharding(saliency_maps.mesh, PartitionSpec("batch"))
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    results = {
        "maps": saliency_maps(model, placed(images), placed(targets)),
        "fooling": fooling_images(model, images[uneven], targets[uneven], max_steps=30)._asdict(),
        "fooling of placed images": fooling_images(model, placed(images), placed(targets), max_steps=3)._asdict(),
        "visualizations": class_visualizations(model, targets[uneven], key=key, num_steps=4)[:2],
    }
    return {
        jax.tree_util.keystr(path): multihost_utils.process_allgather(leaf, tiled=True)
        for path, leaf in jax.tree_util.tree_leaves_with_path(results)
    }


arrays = {"all": found_on(jax.devices())}
if processes == 1:
    arrays["one"] = found_on(jax.devices()[:1])
assert jnp.ndim(arrays["all"]["['maps']"]) == 3
if process == 0:
    named = {f"{devices} {name}": leaf for devices, found in arrays.items() for name, leaf in found.items()}
    np.savez(sys.argv[5], **named)
