"""Guided backpropagation and deconvolution: the rule at each ReLU, wherever the ReLU is."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

import jaxviz

pytestmark = pytest.mark.usefixtures("toy_networks")

IMAGES = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32))
WEIGHTS = jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32))


def loop(relu, x):
    return jax.lax.fori_loop(0, 2, lambda _, x: relu(x @ WEIGHTS), x)


def branch(relu, x):
    return jax.lax.cond(x.sum() > 1e9, lambda x: x, lambda x: relu(relu(x @ WEIGHTS) @ WEIGHTS), x)


def twice(relu, x):
    return relu(relu(x @ WEIGHTS) @ WEIGHTS)


RELUS = {"jax.nn.relu": jax.nn.relu, "maximum": lambda x: jnp.maximum(x, 0), "nnx.relu": nnx.relu}
PLACES = {
    "plain": twice,
    "loop": loop,
    "branch": branch,
    "jit": jax.jit(twice, static_argnums=0),
    "remat": jax.checkpoint(twice, static_argnums=0),
    "vmap": lambda relu, x: jax.vmap(lambda x: twice(relu, x))(x),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("relu", RELUS)
@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_the_rule_holds_at_every_relu(rule, relu, place):
    def model(images):
        return PLACES[place](RELUS[relu], images).mean((1, 2))

    ruled = jaxviz.relu_rule(model, rule)
    np.testing.assert_array_equal(ruled(IMAGES), jax.jit(model)(IMAGES))
    factors = np.array([1.0, -2.0, 3.0], np.float32)  # gradients of both signs reach each ReLU
    found = jax.grad(lambda images: (ruled(images) @ factors).sum())(IMAGES)
    x, w = np.asarray(IMAGES, np.float64), np.asarray(WEIGHTS, np.float64)
    first = x @ w
    second = np.maximum(first, 0) @ w
    gradient = np.broadcast_to(factors / 16, x.shape)
    for values in (second, first):
        gradient = np.maximum(gradient, 0) * (values > 0 if rule == "guided" else 1) @ w.T
    np.testing.assert_allclose(found, gradient, rtol=1e-4, atol=1e-7)


def test_a_method_takes_the_model_with_its_weights_as_leaves(compilations):
    class Classifier(nnx.Module):
        def __init__(self):
            self.linear = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, images):
            return nnx.relu(self.linear(images)).mean((1, 2))

    model = Classifier()
    ruled = jaxviz.relu_rule(model, "guided")
    assert len(jax.tree.leaves(ruled)) == 2
    jaxviz.saliency_maps(ruled, IMAGES, [0, 1])
    assert compilations() == ["_saliency_maps"]
    jaxviz.saliency_maps(jaxviz.relu_rule(jax.tree.map(lambda leaf: 2 * leaf, model), "guided"), IMAGES, [0, 1])
    assert compilations() == []
    features, head = jaxviz.split(ruled, IMAGES, "linear")
    np.testing.assert_allclose(head(features(IMAGES)), model(IMAGES), rtol=1e-5)


def test_of_an_equinox_model():
    mlp = eqx.nn.MLP(3, 3, 8, 2, activation=jax.nn.relu, key=jax.random.key(0))
    arrays, static = eqx.partition(mlp, eqx.is_array)
    model = Partial(lambda arrays, x: jax.vmap(eqx.combine(arrays, static))(x.mean((1, 2))), arrays)
    plain = jax.grad(lambda x: model(x)[:, 0].sum())(IMAGES)
    guided = jax.grad(lambda x: jaxviz.relu_rule(model, "guided")(x)[:, 0].sum())(IMAGES)
    assert not np.allclose(plain, guided)
