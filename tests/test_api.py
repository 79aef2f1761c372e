"""The conventions of the public interface, and that a second call does not compile."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz
import jaxviz.figures
import jaxviz.models
import jaxviz.report
import weights_convert
from jaxviz.models import SqueezeNet

MODULES = [jaxviz, jaxviz.images, jaxviz.labels, jaxviz.figures, jaxviz.models, jaxviz.report, weights_convert]
PUBLIC = [
    (module, name)
    for module in MODULES
    for name in getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    if getattr(getattr(module, name), "__module__", "").startswith(("jaxviz", "weights_convert"))
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_documented_and_options_by_keyword(module, name):
    thing = getattr(module, name)
    assert inspect.getdoc(thing)
    if issubclass(type(thing), type) and issubclass(thing, tuple):
        return  # a NamedTuple
    for parameter in inspect.signature(thing).parameters.values():
        assert parameter.name != "rng"
        if parameter.default is not inspect.Parameter.empty and module is not weights_convert:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter


@pytest.mark.parametrize("name", jaxviz.__all__)
def test_all_is_there(name):
    assert hasattr(jaxviz, name)


def test_all_is_complete():
    public = {name for name in vars(jaxviz) if not name.startswith("_")}
    modules = {name for name in public if inspect.ismodule(getattr(jaxviz, name))}
    assert public - modules | {"images", "labels"} == set(jaxviz.__all__)


def networks():
    return [SqueezeNet("1_1", num_classes=4, rngs=nnx.Rngs(seed)) for seed in (0, 1)]


def test_new_values_do_not_compile_again(compilations):
    first, second = networks()
    images = np.random.default_rng(0).normal(size=(2, 2, 32, 32, 3)).astype(np.float32)
    lower = np.full(3, -2, np.float32)

    def all_three(model, images, labels, key, step_size, integer, bounds):
        jaxviz.saliency_maps(model, images, labels)
        jaxviz.fooling_images(
            model, images, labels, step_size=step_size, max_steps=integer, confidence=step_size, bounds=bounds,
            levels=integer,
        )  # fmt: skip
        jaxviz.class_visualizations(
            model, labels, key=key, init_images=images, num_steps=2, step_size=step_size, l2_weight=step_size,
            max_jitter=integer, blur_every=integer, blur_sigma=step_size, bounds=bounds,
        )  # fmt: skip

    all_three(first, images[0], [0, 1], jax.random.key(0), 0.5, 3, (lower, 2))
    assert compilations() == ["_saliency_maps", "_fooling_images", "_class_visualizations"]
    # other values, and the same things as other types
    all_three(second, jnp.asarray(images[1]), np.array([2, 3], np.int8), jax.random.key(1), np.float64(1), 4, (-1, 1.5))
    all_three(second, images[1], jnp.array([3, 3]), jax.random.key(1), jnp.array(0.25), jnp.array(5), ([-1] * 3, 1))
    assert compilations() == []


def test_methods_take_a_bfloat16_network():
    model = SqueezeNet("1_1", num_classes=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert model(jnp.asarray(images)).dtype == jnp.float32
    assert jaxviz.saliency_maps(model, images, [0, 1]).dtype == jnp.float32
    assert jaxviz.fooling_images(model, images, [0, 1], max_steps=2).images.dtype == jnp.float32
    result = jaxviz.class_visualizations(model, [0], key=jax.random.key(0), image_shape=(32, 32, 3), num_steps=2)
    assert result.images.dtype == result.scores.dtype == jnp.float32
