"""The fast gradient programs against the plain ones, for networks of others and for awkward shapes."""

import re

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")


def close(a, b, tolerance=1e-5):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.shape == y.shape
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * max(1e-30, float(np.abs(y).max())))


def check(f, *examples):
    """Values, derivatives and transformations of the accelerated gradient of sum(f(x, ...)^2), for each example."""

    def gradient(*args):
        return jax.grad(lambda *args: jnp.square(f(*args)).sum())(*args)

    def transformed(gradient, args):
        tangents = jax.tree.map(jnp.cos, args)
        batch = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.sin(3 * leaf)]), args)
        second = jax.grad(lambda args: jnp.abs(gradient(*args)).sum())(args)
        return gradient(*args), jax.jvp(gradient, args, tangents)[1], jax.vmap(gradient)(*batch), second

    both = jax.jit(lambda *args: [transformed(g, args) for g in (jaxviz.accelerate(gradient), gradient)])
    for args in examples:
        (*fast, fast_second), (*plain, plain_second) = both(*args)
        close(fast, plain)
        close(fast_second, plain_second, 1e-4)


def values(*shape, seed=0):
    """Small integers as floats: many ties in every window."""
    return jnp.asarray(np.random.default_rng(seed).integers(-2, 3, shape), jnp.float32)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


POOLS = [
    ((1, 3, 3, 1), (1, 2, 2, 1), "VALID", (2, 9, 8, 3)),
    ((1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (0, 1), (0, 1), (0, 0)), (1, 8, 10, 2)),
    ((1, 2, 2, 1), (1, 2, 2, 1), "VALID", (1, 7, 8, 2)),
    ((1, 3, 2, 1), (1, 1, 3, 1), "SAME", (2, 7, 11, 2)),
    ((1, 2, 5, 1), (1, 3, 1, 1), ((0, 0), (1, 0), (2, 2), (0, 0)), (1, 9, 6, 1)),
    ((1, 3, 1), (1, 2, 1), "SAME", (2, 12, 3)),
    ((1, 2, 3, 2, 1), (1, 2, 1, 2, 1), "SAME", (1, 5, 6, 7, 2)),
    ((2, 1, 1, 3), (2, 1, 1, 1), "VALID", (4, 3, 2, 5)),
    ((1, 1, 1, 1), (1, 2, 2, 1), "VALID", (1, 5, 5, 2)),
]


@pytest.mark.parametrize(("window", "strides", "padding", "shape"), POOLS)
def test_max_pool(window, strides, padding, shape):
    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding) * 2.0

    check(pool, (values(*shape),), (normal(*shape),))


def test_max_pool_of_minus_infinity_keeps_its_choice():
    def pool(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (3, 3), (1, 2), "SAME")

    x = jnp.full((4, 5), -jnp.inf)
    _, transpose = jax.vjp(pool, x)
    cotangent = normal(*pool(x).shape)
    fast = jax.jit(jaxviz.accelerate(lambda x, g: jax.vjp(pool, x)[1](g)[0]))
    close(fast(x, cotangent), transpose(cotangent)[0])


CONVOLUTIONS = [
    # window, strides, padding, input dilation, kernel dilation, groups, size
    ((1, 1), (1, 1), "VALID", (1, 1), (1, 1), 1, (5, 6)),
    ((1, 1), (2, 3), "VALID", (1, 1), (1, 1), 1, (7, 8)),
    ((1, 1), (1, 1), ((1, 0), (0, 2)), (1, 1), (1, 1), 1, (5, 6)),
    ((3, 3), (1, 1), "SAME", (1, 1), (1, 1), 1, (6, 7)),
    ((3, 3), (2, 2), "VALID", (1, 1), (1, 1), 1, (9, 8)),
    ((7, 5), (2, 3), "SAME", (1, 1), (1, 1), 1, (13, 11)),
    ((3, 2), (1, 2), ((2, 1), (0, 3)), (1, 1), (2, 1), 1, (9, 9)),
    ((3, 3), (1, 1), ((1, 2), (0, 1)), (2, 2), (1, 1), 1, (6, 5)),
    ((3, 3), (1, 1), "SAME", (1, 1), (1, 1), 2, (6, 6)),
    ((3, 3), (1, 1), "SAME", (1, 1), (1, 1), 4, (6, 6)),  # depthwise
    ((3,), (2,), "SAME", (1,), (1,), 1, (9,)),
    ((1,), (1,), "SAME", (1,), (1,), 1, (9,)),
    ((2, 3, 3), (1, 2, 1), "SAME", (1, 1, 1), (1, 1, 1), 1, (4, 5, 6)),
]


@pytest.mark.parametrize(("window", "strides", "padding", "spread", "dilation", "groups", "size"), CONVOLUTIONS)
@pytest.mark.parametrize("layout", ["channels last", "channels first"])
def test_convolution(window, strides, padding, spread, dilation, groups, size, layout):
    letters = "DHW"[-len(size) :]
    dimensions = {
        "channels last": (f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        "channels first": (f"NC{letters}", f"OI{letters}", f"NC{letters}"),
    }[layout]
    x, kernel = normal(2, *size, 4), normal(*window, 4 // groups, 8, seed=1)
    if layout == "channels first":
        x, kernel = jnp.moveaxis(x, -1, 1), jnp.moveaxis(kernel, (-1, -2), (0, 1))

    def convolve(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, strides, padding, spread, dilation, dimensions, feature_group_count=groups
        )

    check(convolve, (x, kernel))


@pytest.mark.parametrize(
    ("axis", "shapes", "replaced"),
    [
        (3, [(2, 3, 4, 2), (2, 3, 4, 5), (2, 3, 4, 1)], True),
        (2, [(1, 3, 4, 2), (1, 3, 1, 2)], True),
        (1, [(1, 3, 4, 2), (1, 2, 4, 2)], False),  # lies in one piece already
        (0, [(3,), (2,)], False),
    ],
)
def test_concatenate(axis, shapes, replaced):
    def concatenate(*parts):
        return lax.concatenate([jnp.tanh(part) for part in parts], axis)

    parts = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    check(concatenate, tuple(parts))
    text = jax.jit(jaxviz.accelerate(concatenate)).trace(*parts).lower(lowering_platforms=("cpu",)).as_text()
    assert ("dynamic_update_slice" in text) == replaced


@pytest.mark.usefixtures("three_devices")
def test_arrays_that_the_user_has_laid_out_over_devices_are_left_alone():
    mesh = jax.make_mesh((3,), ("data",), axis_types=(AxisType.Explicit,))

    def gradient(x):
        return jax.grad(lambda x: jnp.square(lax.concatenate([jnp.tanh(x), x], 1)).sum())(x)

    with jax.set_mesh(mesh):
        x = jax.device_put(normal(3, 4), NamedSharding(mesh, P("data")))
        found = jax.jit(jaxviz.accelerate(gradient))(x)
        close(found, jax.jit(gradient)(x))
    assert found.sharding.spec == P("data", None)


class NNXNetwork(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Conv(3, 8, (3, 3), strides=2, padding="VALID", rngs=rngs)
        self.b = nnx.Conv(8, 8, (1, 1), rngs=rngs)
        self.c = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.a(x)), (3, 3), (2, 2))
        return self.c(nnx.gelu(self.b(x)).mean((1, 2)))


class LinenNetwork(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(8, (3, 3), feature_group_count=1, kernel_dilation=2)(x))
        x = linen.max_pool(x, (2, 2), (2, 2), "SAME")
        x = linen.relu(linen.Conv(8, (3, 3), feature_group_count=8)(x))
        return linen.Dense(5)(x.reshape(len(x), -1))


def nnx_network():
    return NNXNetwork(nnx.Rngs(0))


def linen_network():
    module = LinenNetwork()
    return jax.tree_util.Partial(module.apply, module.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3))))


def equinox_network():
    keys = jax.random.split(jax.random.key(0), 2)
    network = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 8, 3, stride=2, key=keys[0]),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.MaxPool2d(3, 2, use_ceil=True),
            eqx.nn.Lambda(jnp.ravel),
            eqx.nn.Linear(8 * 3 * 3, 5, key=keys[1]),
        ]
    )
    arrays, static = eqx.partition(network, eqx.is_array)

    def apply(arrays, images):
        return jax.vmap(eqx.combine(arrays, static))(jnp.moveaxis(images, -1, 1))

    return jax.tree_util.Partial(apply, arrays)


def control_flow_network():
    """Pooling and convolutions inside scan, while, cond, a nested jit and a rematerialized part."""
    kernel = 0.3 * normal(3, 3, 3, 3)

    def layer(x):
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return lax.reduce_window(jnp.tanh(x), -jnp.inf, lax.max, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    def apply(x):
        x, _ = lax.scan(lambda x, _: (layer(x), None), x, None, length=2)
        x = lax.cond(x.sum() > 0, layer, jnp.tanh, x)
        x = lax.fori_loop(0, 2, lambda _, x: layer(x), x)
        x = jax.checkpoint(layer)(x)
        return jax.jit(layer)(x).mean((1, 2))

    return apply


NETWORKS = [nnx_network, linen_network, equinox_network, control_flow_network]


@pytest.mark.parametrize("build", NETWORKS)
def test_networks_of_others(build):
    model, images = build(), normal(2, 16, 16, 3)
    model = model if not jax.tree_util.all_leaves([model]) else jax.tree_util.Partial(model)

    def gradient(model, images):
        return jax.grad(lambda images: model(images)[:, 1].sum())(images)

    def with_saliency_loss(gradient):
        loss = jax.grad(lambda model, images: jnp.square(gradient(model, images)).sum(), argnums=(0, 1))
        return gradient(model, images), loss(model, images)

    fast, plain = jax.jit(lambda: [with_saliency_loss(g) for g in (jaxviz.accelerate(gradient), gradient)])()
    close(fast[0], plain[0])
    close(fast[1], plain[1], 1e-4)


def test_the_slow_primitives_are_gone_on_a_cpu_and_there_elsewhere():
    model, images = nnx_network(), normal(2, 16, 16, 3)
    gradient = jax.jit(jaxviz.accelerate(jax.grad(lambda images: model(images).sum())))
    text = {
        platform: jax.export.export(gradient, platforms=[platform])(images).mlir_module() for platform in ("cpu", "tpu")
    }
    assert "select_and_scatter" in text["tpu"]
    assert "reduce_window" in text["tpu"]
    assert "select_and_scatter" not in text["cpu"]
    assert "reduce_window" not in text["cpu"]


def relu_then_pool(x):
    return nnx.max_pool(nnx.relu(x), (2, 2), strides=(2, 2))


def test_on_a_tpu_a_gradient_takes_what_the_next_layer_takes():
    """Left alone, the compiler keeps the input of a ReLU beside its output, and so twice the bytes."""

    def gradient(x):
        return jax.grad(lambda x: jnp.sin(relu_then_pool(x)).sum())(x)

    x, fast = values(1, 4, 4, 1), jax.jit(jaxviz.accelerate(gradient))
    text = {name: fast.trace(x).lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda", "tpu")}
    [kept] = re.findall(r"(%\d+) = stablehlo.optimization_barrier", text["tpu"])
    for user in (f"compare GT, {kept},", f'reduce_window"({kept},', f'select_and_scatter"({kept},'):
        assert f"stablehlo.{user}" in text["tpu"].replace('"stablehlo', "stablehlo")
    assert "optimization_barrier" not in text["cpu"] + text["cuda"]
    check(relu_then_pool, (x,))


@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45])
def test_relu_passes_gradients_as_it_did(x):
    gradient = jax.grad(lambda x: jnp.sin(jax.nn.relu(x)).sum())
    x = jnp.full((1, 2), x)
    np.testing.assert_array_equal(jax.jit(jaxviz.accelerate(gradient))(x), jax.jit(gradient)(x))


def test_what_looks_like_a_relu_is_left_alone():
    def f(x):
        return jnp.where(x > 0, jax.nn.relu6(x), jnp.maximum(x, -1)) * jnp.where(jax.nn.relu(x) > 1, x, 2.0)

    check(f, (normal(3, 4),))


def test_loops_are_looked_into():
    model, images = control_flow_network(), normal(1, 8, 8, 3)

    def gradient(images):
        x = lax.fori_loop(0, 3, lambda _, x: x + jax.grad(lambda x: model(x).sum())(x), images)
        return lax.while_loop(
            lambda x: jnp.abs(x).max() < 10, lambda x: x + jax.grad(lambda x: model(x).sum())(x) + 1, x
        )

    close(jax.jit(jaxviz.accelerate(gradient))(images), jax.jit(gradient)(images), 1e-4)


def test_export_and_run_again():
    model, images = nnx_network(), normal(2, 16, 16, 3)
    gradient = jax.jit(jaxviz.accelerate(jax.grad(lambda images: model(images).sum())))
    exported = jax.export.export(gradient, platforms=["cpu", "cuda", "tpu"])(images)
    again = jax.export.deserialize(exported.serialize())
    close(again.call(images), gradient(images))


def test_keyword_arguments_and_pytrees_pass_through():
    fast = jaxviz.accelerate(lambda tree, *, scale: {"out": (tree["a"] * scale, None)})
    found = fast({"a": jnp.ones(2)}, scale=3.0)
    np.testing.assert_array_equal(found["out"][0], [3, 3])
    assert found["out"][1] is None


def test_integers_and_bfloat16_keep_their_type():
    def pool(x):
        return lax.reduce_window(x, jnp.iinfo(jnp.int32).min, lax.max, (2, 2), (2, 2), "VALID")

    x = jnp.arange(16, dtype=jnp.int32).reshape(4, 4)
    np.testing.assert_array_equal(jaxviz.accelerate(pool)(x), pool(x))
    model = NNXNetwork(nnx.Rngs(0))
    images = normal(1, 16, 16, 3).astype(jnp.bfloat16)

    def gradient(model, images):
        return jax.grad(lambda images: model(images)[:, 0].sum().astype(jnp.float32))(images)

    model = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    close(jax.jit(jaxviz.accelerate(gradient))(model, images), jax.jit(gradient)(model, images), 2e-2)


def test_what_the_author_says_of_an_operation_stays():
    """Named scopes, Linen's layer names among them, and metadata stay in the program and so in its profiles."""

    def gradient(x):
        with jax.named_scope("my_layer"), set_xla_metadata(my_note="kept"):
            return jnp.sin(relu_then_pool(x)).sum()

    text = jax.jit(jaxviz.accelerate(gradient)).lower(values(1, 4, 4, 1)).as_text(debug_info=True)
    assert "my_layer" in text
    assert 'my_note = "kept"' in text
    module = LinenNetwork()
    images = normal(1, 16, 16, 3)
    variables = module.init(jax.random.key(0), images)
    named = jax.jit(jaxviz.accelerate(jax.grad(lambda images: module.apply(variables, images).sum())))
    assert "jvp(LinenNetwork))/Conv_0" in named.lower(images).as_text(debug_info=True)


def test_a_large_pooling_window_is_left_alone():
    """The replacement is unrolled over the window: a global one of 112 x 112 took 145 s to compile."""

    def gradient(x):
        return jax.grad(lambda x: jnp.sin(nnx.max_pool(x, (112, 112))).sum())(x)

    x = normal(1, 112, 112, 4)
    text = jax.jit(jaxviz.accelerate(gradient)).lower(x).as_text()
    assert text.count("\n") < 200
    close(jax.jit(jaxviz.accelerate(gradient))(x), jax.jit(gradient)(x))
