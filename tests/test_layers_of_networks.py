"""Whole networks, cut at their layers: the parts give the scores and gradients, and each refusal is right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz
from benchmarks.inputs import random_state
from benchmarks.resnet import resnet50
from jaxviz._core.model import as_model
from jaxviz._rewrite.programs import trace
from jaxviz.models import VGG16

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy_networks")]


def squeezenet():
    return jaxviz.load_model("squeezenet1_1")


def random_resnet():
    return resnet50(random_state("resnet50", np.random.default_rng(0)), jnp.float32)


def random_vgg16():
    return VGG16(rngs=nnx.Rngs(0))


# Inside of a block, the shortcut goes around; of a fire's two expansions, the other.
@pytest.mark.parametrize(
    ("build", "size", "inner", "computed"),
    [
        (
            squeezenet,
            224,
            "/expand",
            ["conv1", "pool1", "fires/0/squeeze", "fire3", "pool3", "fire5", "fire9", "conv10"],
        ),
        (random_resnet, 64, "/", ["conv1", "layer1/0", "layer2/3", "layer3/5", "layer4/2"]),
        (random_vgg16, 64, None, ["conv1_1", "blocks/2/1", "conv3_3", "pool4", "average", "fc6"]),
    ],
)
def test_the_parts_are_the_network(build, size, inner, computed):
    model = build()
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32))
    total = jax.jit(jax.value_and_grad(lambda images, model: model(images)[:, 3].sum()))
    score, gradient = total(images, model)
    names = [layer.name for layer in jaxviz.layers(model, images)]
    blocks = [name for name in names if any(other.startswith(f"{name}/") for other in names)]
    for name in names:
        if inner is not None and inner in name and name not in blocks:
            with pytest.raises(ValueError, match="does not separate the model"):
                jaxviz.split(model, images, name)
            continue
        features, head = jaxviz.split(model, images, name)
        if name in computed:
            both = jax.tree_util.Partial(lambda features, head, images: head(features(images)), features, head)
            found, found_gradient = total(images, both)
            np.testing.assert_allclose(found, score, rtol=1e-5)
            np.testing.assert_allclose(found_gradient, gradient, atol=1e-4 * np.abs(gradient).max())
    assert set(computed) <= set(names)


def test_a_refusal_is_right(squeezenet):
    """The scores have a gradient in the images that does not pass through the refused value; through another, none."""
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 224, 224, 3)).astype(np.float32))

    def around(images, name):
        flat = as_model(squeezenet)
        program = trace(flat, images, [name])
        variable = program.named[name]
        [value] = program.run(flat, images, [variable], {})
        outputs = program.closed.jaxpr.outvars
        [scores] = program.run(flat, images, outputs, {variable: jax.lax.stop_gradient(value)})
        return scores.max()

    assert np.asarray(jax.grad(around)(images, "fires/7/expand3x3")).any()
    assert not np.asarray(jax.grad(around)(images, "fires/7")).any()
