"""The methods under the user's own `jax.shard_map`, over two devices (set at start, so in a process of its own)."""

import subprocess
import sys

PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec as P
import jaxviz

random = np.random.default_rng(0)
weights = jnp.asarray(random.normal(size=(60, 7)), jnp.float32)
model = jax.tree_util.Partial(lambda weights, images: images.reshape(len(images), -1) @ weights, weights)
images, targets = jnp.asarray(random.normal(size=(6, 5, 4, 3)), jnp.float32), jnp.arange(6)
mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

def visualize(model, images, targets):
    keys = jax.vmap(jax.random.key)(targets)
    return jaxviz.class_visualizations(model, targets, key=keys, init_images=images, num_steps=3)

for method in (jaxviz.saliency_maps, jaxviz.fooling_images, visualize):
    split = jax.jit(
        jax.shard_map(
            method, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P("data"), check_vma=False
        )
    )
    found, expected = split(model, images, targets), method(model, images, targets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)
    assert len(jax.tree.leaves(found)[0].sharding.device_set) == 2
    text = split.lower(model, images, targets).compile().as_text()
    assert not [op for op in ("all-gather", "all-reduce", "all-to-all", "collective-permute") if op in text]
"""


def test_a_batch_split_over_two_devices_gives_the_same_without_traffic_between_them():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
