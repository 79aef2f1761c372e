"""The table of docs/transformations.md: each cell is run as it says."""

import functools
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

PAGE = Path(__file__).parents[1] / "docs" / "transformations.md"
BATCH = P("batch")


class Network(nnx.Module):
    """With what is replaced on a CPU: a pooling, its gradient, convolutions of both kinds."""

    def __init__(self, rngs):
        self.a = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.b = nnx.Conv(4, 5, (1, 1), rngs=rngs)

    def __call__(self, images):
        return self.b(nnx.max_pool(nnx.relu(self.a(images)), (2, 2), strides=(2, 2))).mean((1, 2))


MODEL = Network(nnx.Rngs(0))
IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 5
KEYS = jax.random.split(jax.random.key(0), 6)
BATCHED = (jnp.asarray(IMAGES), jnp.asarray(LABELS), KEYS)
ARGUMENTS = (MODEL, *BATCHED)


def saliency_maps(model, images, labels, keys):
    return jaxviz.saliency_maps(model, images, labels)


def smooth_grad(model, images, labels, keys):
    return jaxviz.smooth_grad(model, images, labels, key=keys, num_samples=2)


def integrated_gradients(model, images, labels, keys):
    return jaxviz.integrated_gradients(model, images, labels, num_steps=2)


def fooling_images(model, images, labels, keys):
    return jaxviz.fooling_images(model, images, labels, max_steps=5, step_size=0.1)


def pgd(model, images, labels, keys):
    return jaxviz.pgd(model, images, labels, epsilon=0.1, norm="l2", num_steps=2, key=keys)


def class_visualizations(model, images, labels, keys):
    return jaxviz.class_visualizations(
        model, labels, key=keys, init_images=images, num_steps=2, snapshot_every=1, max_jitter=2
    )


def deletion_curve(model, images, labels, keys):
    return jaxviz.deletion_curve(model, images, labels, images[..., 0], num_steps=2)


def grad_cam(model, images, labels, keys):
    features, head = jaxviz.split(model, images, "a")
    return jaxviz.grad_cam(head, features(images), labels)


def guided(model, images, labels, keys):
    return jaxviz.saliency_maps(jaxviz.relu_rule(model, "guided"), images, labels)


def occlusion(model, images, labels, keys):
    return jaxviz.occlusion(model, images, labels, window=4, stride=4)


def rise(model, images, labels, keys):
    return jaxviz.rise(model, images, labels, key=keys, num_masks=2, cell=4)


def expected_gradients(model, images, labels, keys):
    baselines = np.zeros((2, 8, 8, 3), images.dtype)
    return jaxviz.expected_gradients(model, images, labels, baselines=baselines, key=keys, num_samples=2)


ADAM = optax.adam(0.1)
METHODS = (
    saliency_maps,
    smooth_grad,
    integrated_gradients,
    fooling_images,
    pgd,
    class_visualizations,
    deletion_curve,
    grad_cam,
    guided,
    occlusion,
    rise,
    expected_gradients,
)


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((3,), ("batch",), axis_types=(kind,))


def sharded(method, **options):
    specs = (P(), BATCH, BATCH, BATCH)
    return jax.jit(jax.shard_map(method, in_specs=specs, out_specs=BATCH, **options))


def devices_of(results):
    return {len(leaf.devices()) for leaf in jax.tree.leaves(results)}


def with_jit(method):
    return jax.jit(method)(*ARGUMENTS)


def with_vmap(method):
    found = jax.vmap(lambda *one: method(MODEL, *(leaf[None] for leaf in one)))(*BATCHED)
    return jax.tree.map(lambda leaf: leaf[:, 0], found)


def with_vmap_over_models(method):
    two = jax.tree.map(lambda leaf: jnp.stack([-leaf, leaf]), MODEL)
    return jax.tree.map(lambda leaf: leaf[1], jax.vmap(method, (0, None, None, None))(two, *BATCHED))


def gradient(method):
    def total(model, images):
        return jax.tree.leaves(method(model, images, *BATCHED[1:]))[0].sum()

    found = jax.tree.leaves(jax.jit(jax.grad(total, (0, 1)))(MODEL, BATCHED[0]))
    assert all(np.isfinite(leaf).all() for leaf in found)
    return found


def with_grad(method):
    if method is not deletion_curve:  # whose first result, the fractions, depends on nothing
        assert any(leaf.any() for leaf in gradient(method))
    return method(*ARGUMENTS)


def with_checkpoint(method):
    for plain, saved in zip(gradient(method), gradient(jax.checkpoint(method)), strict=True):
        np.testing.assert_allclose(saved, plain, rtol=1e-4, atol=1e-6)
    return jax.checkpoint(method)(*ARGUMENTS)


def with_shard_map(method):
    return sharded(method, mesh=mesh())(*ARGUMENTS)


def with_shard_map_over_models(method):
    def one(model, *batch):
        return jax.tree.map(lambda leaf: leaf[None], method(jax.tree.map(lambda leaf: leaf[0], model), *batch))

    models = jax.tree.map(lambda leaf: jnp.stack([-leaf, leaf, 2 * leaf]), MODEL)
    split = jax.shard_map(one, mesh=mesh(), in_specs=(BATCH, P(), P(), P()), out_specs=BATCH)
    return jax.tree.map(lambda leaf: leaf[1], jax.jit(split)(models, *BATCHED))


def with_shard_map_unchecked(method):
    return sharded(method, mesh=mesh(), check_vma=False)(*ARGUMENTS)


def with_shard_map_explicit(method):
    with jax.set_mesh(mesh(AxisType.Explicit)):
        return sharded(method)(MODEL, *jax.device_put(BATCHED, BATCH))


def with_set_mesh(method):
    with jax.set_mesh(mesh(AxisType.Explicit)):
        return method(MODEL, jax.device_put(BATCHED[0], BATCH), *BATCHED[1:])


def with_data_parallel(method):
    return jaxviz.data_parallel(method)(*ARGUMENTS)


def with_jit_of_data_parallel(method):
    return jax.jit(jaxviz.data_parallel(method))(*ARGUMENTS)


def with_data_parallel_of_jit(method):
    """Called twice, and the same jitted function plain beside it, which stays on one device."""
    jitted = jax.jit(method)
    split = jaxviz.data_parallel(jitted)
    split(*ARGUMENTS)
    found = split(*ARGUMENTS)
    assert devices_of(found) == {3}
    assert devices_of(jitted(*ARGUMENTS)) == {1}
    return found


def with_images_split_over_devices(method):
    found = method(MODEL, jax.device_put(BATCHED[0], NamedSharding(mesh(), BATCH)), *BATCHED[1:])
    assert devices_of(found) == {3}
    return found


def with_pmap(method):
    pieces = jax.tree.map(lambda leaf: leaf.reshape(3, 2, *leaf.shape[1:]), BATCHED)
    found = jax.pmap(method, in_axes=(None, 0, 0, 0))(MODEL, *pieces)
    return jax.tree.map(lambda leaf: leaf.reshape(6, *leaf.shape[2:]), found)


def with_export(method):
    leaves, structure = jax.tree.flatten(MODEL)

    def program(leaves, images, labels, key_data):
        return jax.tree.leaves(method(structure.unflatten(leaves), images, labels, jax.random.wrap_key_data(key_data)))

    (n,) = jax.export.symbolic_shape("n")
    arrays = (BATCHED[0], BATCHED[1], jax.random.key_data(KEYS))
    shapes = [jax.ShapeDtypeStruct((n, *array.shape[1:]), array.dtype) for array in arrays]
    weights = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
    exported = jax.export.export(jax.jit(program), platforms=["cpu", "cuda", "tpu"])(weights, *shapes)
    return exported.call(leaves, *arrays)


def with_disable_jit(method):
    with jax.disable_jit():
        return method(*ARGUMENTS)


def with_debug_nans(method):
    with jax.debug_nans(True):
        return method(*ARGUMENTS)


def with_transfer_guard(method):
    method(MODEL, IMAGES, LABELS, KEYS)  # what is compiled holds constants, which are moved once
    with jax.transfer_guard("disallow"):
        return method(MODEL, IMAGES, LABELS, KEYS)


def with_x64(method):
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), MODEL)
        found = method(model, IMAGES.astype(np.float64), LABELS, KEYS)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} <= {np.dtype(name) for name in ("float64", "int32", "bool")}
    return found if method not in (smooth_grad, pgd) else method(*ARGUMENTS)  # of other noise


def with_bfloat16(method):
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), MODEL)
    found = method(model, BATCHED[0].astype(jnp.bfloat16), *BATCHED[1:])
    floats = [leaf for leaf in jax.tree.leaves(found) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert {leaf.dtype for leaf in floats} == {jnp.dtype(jnp.bfloat16)}
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in floats)
    return method(*ARGUMENTS)


TRANSFORMATIONS = (
    with_jit, with_vmap, with_vmap_over_models, with_grad, with_checkpoint, with_shard_map, with_shard_map_over_models,
    with_shard_map_unchecked, with_shard_map_explicit, with_set_mesh, with_data_parallel, with_jit_of_data_parallel,
    with_data_parallel_of_jit, with_images_split_over_devices, with_pmap, with_export, with_disable_jit,
    with_debug_nans, with_transfer_guard, with_x64, with_bfloat16,
)  # fmt: skip


MAIN = (saliency_maps, fooling_images, class_visualizations)  # the cells of the other methods are slow tests


def cells():
    rows = [line.strip("|").split("|") for line in PAGE.read_text().splitlines() if line.startswith("|")]
    assert len(rows) - 2 == len(TRANSFORMATIONS)
    assert [name.strip().split(", ")[-1 if "pgd" in name else 0] for name in rows[0][1:]] == [
        method.__name__ for method in METHODS
    ]
    return [
        pytest.param(
            transformation,
            method,
            cell.strip(),
            id=f"{transformation.__name__}-{method.__name__}",
            marks=[pytest.mark.slow] * (method not in MAIN),
        )
        for transformation, row in zip(TRANSFORMATIONS, rows[2:], strict=True)
        for method, cell in zip(METHODS, row[1:], strict=True)
    ]


def fooling_by_adam(model, images, labels, keys):
    return jaxviz.fooling_images(model, images, labels, max_steps=5, optimizer=ADAM)


def class_visualizations_by_adam(model, images, labels, keys):
    return jaxviz.class_visualizations(model, labels, key=keys, init_images=images, num_steps=2, optimizer=ADAM)


def fourier_images_by_adam(model, images, labels, keys):
    options = {"parametrization": jaxviz.fourier(), "image_shape": (8, 8, 3), "optimizer": ADAM}
    return jaxviz.class_visualizations(model, labels, key=keys, num_steps=2, **options)


@pytest.mark.usefixtures("three_devices")
@jax.numpy_dtype_promotion("standard")  # optax's adam does not keep to the strict one
@pytest.mark.parametrize("method", [fooling_by_adam, class_visualizations_by_adam, fourier_images_by_adam])
def test_an_optimizer_under_shard_map(method):
    """Its count of steps starts as a constant, which does not vary over the devices by itself."""
    for found, expected in zip(
        jax.tree.leaves(with_shard_map(method)), jax.tree.leaves(method(*ARGUMENTS)), strict=True
    ):
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-4, atol=1e-5)


SEVERAL_DEVICES = (
    with_shard_map, with_shard_map_over_models, with_shard_map_unchecked, with_shard_map_explicit, with_set_mesh,
    with_data_parallel_of_jit, with_images_split_over_devices, with_pmap,
)  # fmt: skip


@functools.cache
def plain(method):
    return method(*ARGUMENTS)


@pytest.mark.parametrize(("transformation", "method", "cell"), cells())
def test_cell(transformation, method, cell, request):
    if transformation in SEVERAL_DEVICES:
        request.getfixturevalue("three_devices")
    if cell == "no":
        with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
            transformation(method)
        return
    assert cell == "yes"
    found, expected = jax.tree.leaves(transformation(method)), jax.tree.leaves(plain(method))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=1e-4, atol=1e-5)
