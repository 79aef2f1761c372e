"""Named values of models in every framework: their names, their values, and the model cut in two at each."""

import threading

import equinox as eqx
import haiku as hk
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.ad_checkpoint import checkpoint_name
from jax.tree_util import Partial

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32))
WIDTH, BLOCKS, CLASSES = 8, 3, 5


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, WIDTH, decode=False, rngs=rngs)
        self.mlp = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.mlp(nnx.gelu(x))


class ViT(nnx.Module):
    """As NNX's model zoos write it; blocks in a list, in a scan, or rematerialized."""

    def __init__(self, kind, rngs):
        self.kind = kind
        self.embed = nnx.Conv(3, WIDTH, (4, 4), strides=4, rngs=rngs)
        if kind == "scan":
            make = nnx.vmap(lambda rngs: Block(rngs), in_axes=(0,), out_axes=0)
            self.blocks = nnx.split_rngs(splits=BLOCKS)(make)(rngs)
        else:
            self.blocks = nnx.List(Block(rngs) for _ in range(BLOCKS))
        self.head = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, images):
        x = self.embed(images).reshape(images.shape[0], -1, WIDTH)
        if self.kind == "scan":
            x = nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.blocks)
        else:
            for block in self.blocks:
                x = nnx.remat(lambda block, x: block(x))(block, x) if self.kind == "remat" else block(x)
        return self.head(x.mean(1))


class LinenBlock(linen.Module):
    @linen.compact
    def __call__(self, x, _=None):
        return x + linen.Dense(WIDTH, name="mlp")(linen.LayerNorm(name="norm")(x)), None


class LinenViT(linen.Module):
    kind: str

    @linen.compact
    def __call__(self, images):
        x = linen.Conv(WIDTH, (4, 4), strides=4, name="embed")(images).reshape(len(images), -1, WIDTH)
        if self.kind == "scan":
            scan = linen.scan(LinenBlock, variable_axes={"params": 0}, split_rngs={"params": True}, length=BLOCKS)
            x, _ = scan(name="blocks")(x, None)
        else:
            for i in range(BLOCKS):
                x, _ = (linen.remat(LinenBlock) if self.kind == "remat" else LinenBlock)(name=f"block{i}")(x)
        return linen.Dense(CLASSES, name="head")(x.mean(1))


class EquinoxBlock(eqx.Module):
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    mlp: eqx.nn.Linear

    def __init__(self, key):
        self.norm, self.attention = eqx.nn.LayerNorm(WIDTH), eqx.nn.MultiheadAttention(2, WIDTH, key=key)
        self.mlp = eqx.nn.Linear(WIDTH, WIDTH, key=key)

    def __call__(self, tokens):
        x = jax.vmap(self.norm)(tokens)
        x = tokens + self.attention(x, x, x)
        return x + jax.vmap(self.mlp)(jax.nn.gelu(x))


class EquinoxViT(eqx.Module):
    """As Equinox's model zoos write it: of one image, channels first."""

    kind: str = eqx.field(static=True)
    embed: eqx.nn.Conv2d
    blocks: EquinoxBlock | list[EquinoxBlock]
    head: eqx.nn.Linear

    def __init__(self, kind, key):
        self.kind, keys = kind, jax.random.split(key, BLOCKS)
        self.embed = eqx.nn.Conv2d(3, WIDTH, 4, 4, key=key)
        self.blocks = eqx.filter_vmap(EquinoxBlock)(keys) if kind == "scan" else [EquinoxBlock(key) for key in keys]
        self.head = eqx.nn.Linear(WIDTH, CLASSES, key=key)

    def __call__(self, image):
        x = self.embed(image).reshape(WIDTH, -1).T
        if self.kind == "scan":
            arrays, static = eqx.partition(self.blocks, eqx.is_array)
            x, _ = jax.lax.scan(lambda x, arrays: (eqx.combine(arrays, static)(x), None), x, arrays)
        else:
            for block in self.blocks:
                x = eqx.filter_checkpoint(block)(x) if self.kind == "remat" else block(x)
        return self.head(x.mean(0))


def nnx_model(kind):
    return ViT(kind, nnx.Rngs(0))


def linen_model(kind):
    module = LinenViT(kind)
    return Partial(module.apply, module.init(jax.random.key(0), IMAGES))


def equinox_model(kind):
    arrays, static = eqx.partition(EquinoxViT(kind, jax.random.key(0)), eqx.is_array)

    def apply(arrays, images):
        return jax.vmap(eqx.combine(arrays, static))(images.transpose(0, 3, 1, 2))

    return Partial(apply, arrays)


def haiku_model(kind):
    def classifier(images):
        x = hk.Conv2D(WIDTH, 4, 4, name="embed")(images)
        for i in range(BLOCKS):
            x = x + hk.nets.MLP([WIDTH, WIDTH], name=f"block{i}")(x)
        return hk.Linear(CLASSES, name="head")(x.mean((1, 2)))

    network = hk.without_apply_rng(hk.transform(classifier))
    return Partial(network.apply, network.init(jax.random.key(0), IMAGES))


FORMS = {
    f"{build.__name__.removesuffix('_model')} {kind}": (build, kind)
    for build, kinds in (
        (nnx_model, ("list", "scan", "remat")),
        (linen_model, ("list", "scan", "remat")),
        (equinox_model, ("list", "scan", "remat")),
        (haiku_model, ("list",)),
    )
    for kind in kinds
}


@pytest.fixture(scope="module", params=FORMS)
def form(request):
    build, kind = FORMS[request.param]
    return request.param, build(kind)


def separating(name):
    """The values through which all paths go: outside of blocks, and the blocks themselves."""
    framework, kind = name.split()
    blocks = {
        "nnx": [f"blocks[{i}]" if kind == "scan" else f"blocks/{i}" for i in range(BLOCKS)],
        "linen": [f"blocks[{i}]" if kind == "scan" else f"block{i}" for i in range(BLOCKS)],
        "equinox": [f"blocks[{i}]" if kind == "scan" else f"blocks/{i}" for i in range(BLOCKS)],
        "haiku": [],
    }[framework]
    return ["embed", *blocks, "head"]


def anew(model):
    """A model of its own for each trace: `nnx.remat` changes the objects that it is given."""
    return jax.tree.unflatten(jax.tree.structure(model), jax.tree.leaves(model))


def test_head_of_features_is_the_model_at_every_layer_that_separates_it(form):
    name, model = form
    total = jax.jit(jax.value_and_grad(lambda images, model: anew(model)(images)[:, 1].sum()))
    score, gradient = total(IMAGES, model)
    cut = []
    for layer in jaxviz.layers(model, IMAGES):
        assert layer.shape[0] == len(IMAGES), layer  # under `vmap` as well
        if layer.name not in separating(name):
            with pytest.raises(ValueError, match="does not separate the model: the scores also depend on"):
                jaxviz.split(model, IMAGES, layer.name)
            continue
        cut.append(layer.name)
        features, head = jaxviz.split(model, IMAGES, layer.name)
        found, found_gradient = total(IMAGES, Partial(lambda f, h, images: h(f(images)), features, head))
        np.testing.assert_allclose(found, score, rtol=1e-5)
        np.testing.assert_allclose(found_gradient, gradient, rtol=1e-4, atol=1e-6)
        activations = features(IMAGES[:2])  # another batch size
        assert activations.shape == (2, *layer.shape[1:])
        np.testing.assert_allclose(head(activations), anew(model)(IMAGES[:2]), rtol=1e-4, atol=1e-6)
    assert cut == separating(name)


def test_names_are_paths_of_submodules(form):
    name, model = form
    names = [layer.name for layer in jaxviz.layers(model, IMAGES)]
    assert len(names) == len(set(names))
    inner = {
        "nnx list": "blocks/1/attention/query",
        "nnx scan": "blocks/attention/query[1]",
        "nnx remat": "blocks/1/attention/query",
        "linen list": "block1/mlp",
        "linen scan": "blocks/mlp[1]",
        "linen remat": "block1/mlp",
        "equinox list": "blocks/1/attention/query_proj",
        "equinox scan": "blocks/attention/query_proj[1]",
        "equinox remat": "blocks/1/attention/query_proj",
        "haiku list": "block1/~/linear_0",
    }
    assert inner[name] in names


def test_capture_gives_the_values_of_one_evaluation():
    model = nnx_model("list")
    values = jaxviz.capture(model, IMAGES, ["blocks/0", "embed"])
    assert list(values) == ["blocks/0", "embed"]
    np.testing.assert_allclose(values["embed"], model.embed(IMAGES), rtol=1e-5, atol=1e-6)
    tokens = model.embed(IMAGES).reshape(len(IMAGES), -1, WIDTH)
    np.testing.assert_allclose(values["blocks/0"], model.blocks[0](tokens), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("build", [nnx_model, linen_model, equinox_model])
def test_the_values_of_a_loop_are_stacked_or_one_by_one(build):
    model = build("scan")
    values = jaxviz.capture(model, IMAGES, ["blocks", "blocks[2]", "blocks[0]"])
    assert values["blocks"].shape == (BLOCKS, len(IMAGES), 4, WIDTH)
    np.testing.assert_array_equal(values["blocks"][2], values["blocks[2]"])
    np.testing.assert_array_equal(values["blocks"][0], values["blocks[0]"])


def test_scan_and_list_have_the_same_values():
    """The blocks of the scan, copied to a list."""
    scanned, listed = nnx_model("scan"), nnx_model("list")
    for i, block in enumerate(listed.blocks):
        nnx.update(block, jax.tree.map(lambda leaf, i=i: leaf[i], nnx.state(scanned.blocks)))
    nnx.update(listed.embed, nnx.state(scanned.embed))
    for i in range(BLOCKS):
        ours = jaxviz.capture(scanned, IMAGES, [f"blocks/mlp[{i}]"])[f"blocks/mlp[{i}]"]
        expected = jaxviz.capture(listed, IMAGES, [f"blocks/{i}/mlp"])[f"blocks/{i}/mlp"]
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def test_a_reversed_scan_is_numbered_by_its_rows():
    def model(images):
        x = images.mean((1, 2))
        x, outputs = jax.lax.scan(
            lambda x, row: (checkpoint_name(x + row, "sum"), x), x, jnp.arange(9.0).reshape(3, 1, 3), reverse=True
        )
        return x + outputs.sum(0)

    values = jaxviz.capture(model, IMAGES, ["sum[2]", "sum[0]"])
    np.testing.assert_allclose(values["sum[2]"], IMAGES.mean((1, 2)) + jnp.array([[6.0, 7.0, 8.0]]), rtol=1e-5)
    np.testing.assert_allclose(values["sum[0]"], IMAGES.mean((1, 2)) + jnp.array([[9.0, 12.0, 15.0]]), rtol=1e-5)


def test_a_name_that_occurs_again_is_numbered():
    class Reused(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, images):
            return self.layer(self.layer(images.mean((1, 2))))

    model = Reused()
    assert [layer.name for layer in jaxviz.layers(model, IMAGES)] == ["layer", "layer:2"]
    features, head = jaxviz.split(model, IMAGES, "layer")
    np.testing.assert_allclose(head(features(IMAGES)), model(IMAGES), rtol=1e-6)
    np.testing.assert_allclose(jaxviz.capture(model, IMAGES, ["layer:2"])["layer:2"], model(IMAGES), rtol=1e-6)


def test_a_module_that_is_built_again_and_called_twice_keeps_its_name():
    """Also where another path begins alike and has the same class."""

    class Outer(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            for _ in range(2):
                x = jax.tree.map(lambda leaf: leaf, self.layer)(x)  # as transformations do
            return x

    class Model(nnx.Module):
        def __init__(self):
            self.a, self.ab = Outer(), Outer()

        def __call__(self, images):
            return self.ab(self.a(images.mean((1, 2))))

    names = [layer.name for layer in jaxviz.layers(Model(), IMAGES)]
    assert names == ["a/layer", "a/layer:2", "a", "ab/layer", "ab/layer:2", "ab"]


def test_a_function_that_was_compiled_before_is_traced_again_with_its_names():
    class Jitted(nnx.Module):
        def __init__(self):
            self.inner = nnx.Linear(3, CLASSES, rngs=nnx.Rngs(0))

        @jax.jit
        def __call__(self, images):
            return self.inner(images.mean((1, 2)))

    model = Jitted()
    scores = model(IMAGES)
    assert [layer.name for layer in jaxviz.layers(model, IMAGES)] == ["inner"]
    np.testing.assert_array_equal(model(IMAGES), scores)
    assert "tag" not in str(jax.make_jaxpr(lambda images: model(images))(IMAGES))


@jax.custom_jvp
def steep(x):
    return checkpoint_name(jnp.tanh(x), "steep")


steep.defjvp(lambda primals, tangents: (steep(*primals), 10 * tangents[0]))


def test_a_value_inside_a_custom_derivative_can_be_read_but_not_cut():
    def model(images):
        return steep(images.mean((1, 2)))

    np.testing.assert_allclose(
        jaxviz.capture(model, IMAGES, ["steep"])["steep"], jnp.tanh(IMAGES.mean((1, 2))), rtol=1e-6
    )
    with pytest.raises(ValueError, match="lies in a function with its own derivative"):
        jaxviz.split(model, IMAGES, "steep")


def test_a_custom_derivative_before_and_after_the_cut_is_kept():
    def model(images):
        return steep(checkpoint_name(steep(images.mean((1, 2))), "between"))

    features, head = jaxviz.split(model, IMAGES, "between")
    expected = jax.grad(lambda images: model(images).sum())(IMAGES)
    found = jax.grad(lambda images: head(features(images)).sum())(IMAGES)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_nothing_stays_wrapped_after_an_error():
    class Broken(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, images):
            raise RuntimeError("broken")

    calls = {cls: vars(cls)["__call__"] for cls in (Broken, nnx.Linear, ViT)}
    with pytest.raises(RuntimeError, match="broken"):
        jaxviz.layers(Broken(), IMAGES)
    jaxviz.layers(nnx_model("list"), IMAGES)
    assert calls == {cls: vars(cls)["__call__"] for cls in calls}


def test_another_thread_calls_the_same_classes_meanwhile():
    """Its calls are not tagged; two traces at once do not unwrap each other's classes."""
    tracing, called = threading.Event(), threading.Event()

    class Waiting(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, images):
            tracing.set()
            assert called.wait(60)
            return self.layer(images.mean((1, 2)))

    found = []
    thread = threading.Thread(target=lambda: found.extend(jaxviz.layers(Waiting(), IMAGES)))
    thread.start()
    assert tracing.wait(60)
    other = nnx.Linear(3, 3, rngs=nnx.Rngs(1))
    assert "tag" not in str(jax.make_jaxpr(lambda x: other(x))(jnp.ones((1, 3))))
    jaxviz.layers(nnx_model("list"), IMAGES)  # wraps and unwraps `nnx.Linear` too
    called.set()
    thread.join()
    assert [layer.name for layer in found] == ["layer"]
    assert "modules.call" not in str(vars(nnx.Linear)["__call__"].__code__.co_names)


def test_features_and_head_are_models_that_compile_once():
    model, traces = nnx_model("list"), []
    features, head = jaxviz.split(model, IMAGES, "blocks/1")
    assert len(jax.tree.leaves(head)) == len(jax.tree.leaves(model)) == len(jax.tree.leaves(features))

    @jax.jit
    def scores(head, activations):
        traces.append(1)
        return head(activations)

    activations = features(IMAGES)
    first = scores(head, activations)
    other = jax.tree.map(lambda leaf: 2 * leaf, model)
    second = scores(jaxviz.split(other, IMAGES, "blocks/1")[1], activations)
    assert len(traces) == 1
    assert not np.allclose(first, second)


def test_features_and_head_compose():
    model = nnx_model("list")
    features, head = jaxviz.split(model, IMAGES, "blocks/1")
    activations, scores = features(IMAGES), model(IMAGES)
    one_by_one = jax.vmap(lambda a: head(a[None])[0])(activations)
    np.testing.assert_allclose(one_by_one, scores, rtol=1e-4, atol=1e-6)
    gradient = jax.grad(lambda head: head(activations).sum())(head)
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient))
    grid = activations.reshape(3, 2, 2, WIDTH)
    on_grid = Partial(lambda head, grid: head(grid.reshape(grid.shape[0], -1, WIDTH)), head)
    maps = jaxviz.saliency_maps(on_grid, grid, [0, 1, 2])
    np.testing.assert_allclose(
        jaxviz.data_parallel(jaxviz.saliency_maps)(on_grid, grid, [0, 1, 2]), maps, rtol=1e-4, atol=1e-6
    )
    (n,) = jax.export.symbolic_shape("n")
    exported = jax.export.export(jax.jit(head))(jax.ShapeDtypeStruct((n, 4, WIDTH), jnp.float32))
    np.testing.assert_allclose(exported.call(activations), scores, rtol=1e-4, atol=1e-6)


def test_a_head_has_layers_of_its_own():
    model = nnx_model("scan")
    features, head = jaxviz.split(model, IMAGES, "blocks[0]")
    activations = features(IMAGES)
    names = [layer.name for layer in jaxviz.layers(head, activations)]
    assert "blocks[1]" in names
    assert "embed" not in names
    inner_features, inner_head = jaxviz.split(head, activations, "blocks[1]")
    np.testing.assert_allclose(inner_head(inner_features(activations)), model(IMAGES), rtol=1e-4, atol=1e-6)


class Linear(nnx.Module):
    def __init__(self):
        self.mix = nnx.Linear(3, 4, rngs=nnx.Rngs(0))

    def __call__(self, images):
        return self.mix(images).mean((1, 2))


def test_a_method_of_a_part_of_the_model():
    """A channel as a class, and a saliency map of the head: closed forms on a linear model."""
    model = Linear()
    features, head = jaxviz.split(model, IMAGES, "mix")
    unit = Partial(lambda features, images: features(images).mean((1, 2)), features)
    maps = jaxviz.saliency_maps(unit, IMAGES, [2] * 3)
    np.testing.assert_allclose(maps, jnp.abs(model.mix.kernel[:, 2]).max() / 64, rtol=1e-5)
    np.testing.assert_allclose(jaxviz.saliency_maps(head, features(IMAGES), [2] * 3), 1 / 64, rtol=1e-5)


def test_our_networks_name_their_stages(squeezenet):
    images = jnp.zeros((1, 224, 224, 3))
    names = [layer.name for layer in jaxviz.layers(squeezenet, images)]
    stages = [name for name, _ in squeezenet.stages(images)][:-1]
    assert set(stages) <= set(names)
    for name in stages:
        jaxviz.split(squeezenet, images, name)


def test_a_bfloat16_model_and_float64():
    model, images = Linear(), IMAGES.astype(jnp.bfloat16)
    model = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), model)
    features, head = jaxviz.split(model, images, "mix")
    assert features(images).dtype == jnp.bfloat16
    np.testing.assert_array_equal(head(features(images)), jax.jit(lambda model, x: model(x))(model, images))
    with jax.enable_x64(True):
        model = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), Linear())
        images = jnp.asarray(np.asarray(IMAGES, np.float64))
        features, head = jaxviz.split(model, images, "mix")
        np.testing.assert_allclose(head(features(images)), model(images), rtol=1e-13)
