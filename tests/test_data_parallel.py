"""A batch split over devices gives what one device gives, without traffic between them."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxviz
from jaxviz import data_parallel

pytestmark = pytest.mark.usefixtures("toy_networks", "three_devices")

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "collective-broadcast")


def fool(model, images, targets):
    return jaxviz.fooling_images(model, images, targets, step_size=0.2, max_steps=40)


def visualize(model, images, targets):
    return jaxviz.class_visualizations(
        model, targets, key=jax.random.key(0), init_images=images, num_steps=4, snapshot_every=2, max_jitter=2
    )


def visualize_each(model, images, targets):
    # of NumPy, as a user has them: what JAX makes within the program would be split over the devices itself
    numbers = np.linspace(0.1, 0.5, len(targets), dtype=np.float32)
    return jaxviz.class_visualizations(
        model, targets, key=jax.random.key(0), init_images=images, num_steps=4, step_size=numbers, l2_weight=numbers,
        blur_every=jnp.arange(1, len(targets) + 1), max_jitter=2,
    )  # fmt: skip


def attack(model, images, labels):
    radii = np.linspace(0.1, 0.5, len(labels), dtype=np.float32)
    return jaxviz.pgd(model, images, labels, epsilon=radii, norm="l2", key=jax.random.key(0), num_steps=3)


def smooth(model, images, labels):
    return jaxviz.smooth_grad(model, images, labels, key=jax.random.key(0), num_samples=3)


def integrate(model, images, labels):
    return jaxviz.integrated_gradients(model, images, labels, baseline=-images, num_steps=3)


def insert(model, images, labels):
    return jaxviz.insertion_curve(model, images, labels, images[..., 0], num_steps=4, baseline=-images)


METHODS = [jaxviz.saliency_maps, fool, visualize, visualize_each, attack, smooth, integrate, insert]


def assert_equal(found, expected):
    """Decisions to the bit, pixels to rounding."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if jnp.issubdtype(b.dtype, jnp.floating):
            np.testing.assert_allclose(a, b, atol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def batch(linear_images):
    return np.concatenate([linear_images, linear_images[:2]]), np.arange(8, dtype=np.int32) % 7


@pytest.mark.parametrize(("devices", "count"), [(3, 1), (2, 4), (3, 4)])
@pytest.mark.parametrize("method", METHODS)
def test_equal_to_one_device(linear, batch, method, devices, count):
    images, labels = batch[0][:count], batch[1][:count]
    found = data_parallel(method, devices=jax.devices()[:devices])(linear.model, images, labels)
    assert_equal(found, method(linear.model, images, labels))
    if count % devices == 0 or count < devices:
        assert all(len(leaf.sharding.device_set) == min(count, devices) for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("method", METHODS)
def test_no_traffic_between_devices(linear, batch, method):
    compiled = data_parallel(method).lower(linear.model, batch[0][:6], batch[1][:6]).compile()
    program = compiled.as_text()
    assert "num_partitions=3" in program
    assert not [name for name in COLLECTIVES if name in program]


def mesh_of(shape, names, kind):
    return Mesh(np.array(jax.devices()[: np.prod(shape)]).reshape(shape), names, axis_types=(kind,) * len(names))


@pytest.mark.parametrize(
    "mesh", [((3,), ("data",), AxisType.Auto), ((2, 1), ("data", "model"), AxisType.Explicit)], ids=["one", "two"]
)
def test_over_a_mesh_with_arrays_that_the_user_has_placed(linear, batch, mesh):
    mesh = mesh_of(*mesh)
    model = jax.device_put(linear.model, NamedSharding(mesh, P()))
    images, labels = jax.device_put((batch[0][:6], batch[1][:6]), NamedSharding(mesh, P("data")))
    found = data_parallel(jaxviz.saliency_maps, mesh=mesh)(model, images, labels)
    assert_equal(found, jaxviz.saliency_maps(linear.model, batch[0][:6], batch[1][:6]))
    assert found.sharding.device_set == set(mesh.devices.flat)


def test_arrays_committed_to_another_device(linear, batch):
    images, labels = jax.device_put(batch, jax.devices()[2])
    found = data_parallel(fool, devices=jax.devices()[:2])(linear.model, images, labels)
    assert_equal(found, fool(linear.model, *batch))


def test_under_jit_vmap_and_grad(linear, batch):
    images, labels = jnp.asarray(batch[0]), jnp.asarray(batch[1])
    split = data_parallel(jaxviz.saliency_maps)
    expected = jaxviz.saliency_maps(linear.model, images, labels)
    assert_equal(jax.jit(split)(linear.model, images, labels), expected)
    assert_equal(jax.vmap(split, (None, 0, None))(linear.model, images[None], labels)[0], expected)
    gradients = [
        jax.grad(lambda model, method=method: method(model, images, labels).sum())(linear.model)
        for method in (split, jaxviz.saliency_maps)
    ]
    assert_equal(*gradients)


def test_an_example_has_the_same_noise_and_jitter_on_any_device(linear):
    method = functools.partial(
        jaxviz.class_visualizations, key=jax.random.key(1), image_shape=(5, 4, 3), num_steps=3, max_jitter=4
    )
    targets = np.arange(5)
    assert_equal(data_parallel(method)(linear.model, targets), method(linear.model, targets))


def test_signature_and_documentation_are_the_methods():
    split = data_parallel(jaxviz.fooling_images)
    assert inspect.signature(split) == inspect.signature(jaxviz.fooling_images)
    assert split.__doc__ == jaxviz.fooling_images.__doc__


def test_lower_without_arrays_then_compile_and_call(linear, batch):
    images, labels = batch[0][:6], batch[1][:6]
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (linear.model, images, labels))
    steps = np.int32(40)
    lowered = data_parallel(jaxviz.fooling_images).lower(*shapes, step_size=0.2, max_steps=steps, lanes=2)
    # floats and arrays stay arguments, `lanes` does not
    found = lowered.compile()(linear.model, images, labels, step_size=0.2, max_steps=steps)
    assert_equal(found, fool(linear.model, images, labels))


def test_lower_keeps_what_is_no_array_apart(linear, batch):
    arguments = (linear.model, batch[0][:6], batch[1][:6])
    lowered = data_parallel(jaxviz.pgd).lower(*arguments, epsilon=0.2, norm="l2", num_steps=2, targeted=True)
    expected = jaxviz.pgd(*arguments, epsilon=0.3, norm="l2", num_steps=2, targeted=True)
    assert_equal(lowered.compile()(*arguments, epsilon=0.3), expected)
    key = jax.random.key(0)
    lowered = data_parallel(jaxviz.smooth_grad).lower(*arguments, key=key, num_samples=2)
    assert_equal(lowered.compile()(*arguments, key=key), jaxviz.smooth_grad(*arguments, key=key, num_samples=2))


def test_lower_a_plain_function(batch):
    def model(images):
        return images.mean((1, 2))

    arguments = {"targets": np.arange(3), "key": jax.random.key(0)}
    lowered = data_parallel(jaxviz.class_visualizations).lower(model, **arguments, image_shape=(6, 6, 3), num_steps=2)
    found = lowered.compile()(jax.tree_util.Partial(model), **arguments)
    assert found.images.shape == (3, 6, 6, 3)


def test_new_values_do_not_compile_again(linear, batch, compilations):
    split = data_parallel(jaxviz.fooling_images)
    split(linear.model, *batch, step_size=0.2, max_steps=40)
    assert compilations() == ["_fooling_images"]
    split(jax.tree.map(lambda leaf: 2 * leaf, linear.model), -batch[0], batch[1] // 2, step_size=0.1, max_steps=30)
    data_parallel(jaxviz.fooling_images)(linear.model, *batch, step_size=0.3, max_steps=3)
    assert compilations() == []


def test_a_model_that_the_user_has_placed_is_not_copied(linear, batch):
    split = data_parallel(jaxviz.saliency_maps)
    model = jax.device_put(linear.model, NamedSharding(split.mesh, P()))
    images, labels = jax.device_put((batch[0][:6], batch[1][:6]), NamedSharding(split.mesh, P("batch")))
    two = NamedSharding(Mesh(split.mesh.devices[:2], ("batch",)), P("batch"))
    fewer = jax.device_put((batch[0][:2], batch[1][:2]), two)
    with jax.transfer_guard_device_to_device("disallow_explicit"):
        found, fewer = split(model, images, labels), split(model, *fewer)
    expected = jaxviz.saliency_maps(linear.model, batch[0][:6], batch[1][:6])
    assert_equal((found, fewer), (expected, expected[:2]))


def test_arguments_are_checked_as_without(linear, batch):
    with pytest.raises(IndexError, match="must be in 0 to 6, got 7"):
        data_parallel(jaxviz.saliency_maps)(linear.model, batch[0][:1], [7])


def test_what_cannot_be_split_is_an_error(linear, batch):
    mesh = mesh_of((3,), ("data",), AxisType.Auto)
    with pytest.raises(ValueError, match="give one of them"):
        data_parallel(fool, devices=jax.devices(), mesh=mesh)
    with pytest.raises(ValueError, match="one device or more"):
        data_parallel(fool, devices=[])


def test_a_slow_image_holds_up_no_other_device(linear, batch):
    """Each device evaluates the model as often as its own images need, two at a time, and then is done."""
    evaluations = []

    def counted(weights, images):
        jax.debug.callback(lambda: evaluations.append(1))
        return images.reshape(len(images), -1) @ weights

    weights = linear.weights.reshape(-1, 7)
    model = jax.tree_util.Partial(counted, jnp.asarray(weights))
    images = np.stack([*batch[0][:2], *(20 * weights[:, 3:7].T.reshape(4, *batch[0].shape[1:]))])  # fooled already
    found = data_parallel(fool, devices=jax.devices()[:3])(model, images, [0, 1, 3, 4, 5, 6])
    jax.effects_barrier()
    assert list(found.steps[2:]) == [0] * 4
    assert min(found.steps[:2]) > 5
    assert len(evaluations) == sum(found.steps.reshape(3, 2).max(1) + 1)
