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

pytestmark = pytest.mark.usefixtures("toy_networks")

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

    def all_methods(model, images, labels, key, number, integer, bounds):
        jaxviz.saliency_maps(model, images, labels)
        jaxviz.fooling_images(
            model, images, labels, step_size=number, max_steps=integer, confidence=number, bounds=bounds,
            levels=integer,
        )  # fmt: skip
        jaxviz.class_visualizations(
            model, labels, key=key, init_images=images, num_steps=2, step_size=number, l2_weight=number,
            max_jitter=integer, blur_every=integer, blur_sigma=number, bounds=bounds,
        )  # fmt: skip
        each = np.full(2, number)
        jaxviz.class_visualizations(
            model, labels, key=key, init_images=images, num_steps=2, step_size=each, l2_weight=each,
            max_jitter=np.full(2, integer), blur_every=np.full(2, integer), blur_sigma=each, bounds=bounds,
        )  # fmt: skip
        for norm in ("linf", "l2"):
            jaxviz.pgd(
                model, images, labels, epsilon=number, norm=norm, step_size=number, num_steps=2, key=key, bounds=bounds
            )
        jaxviz.smooth_grad(model, images, labels, key=key, num_samples=2, noise_scale=number)
        jaxviz.integrated_gradients(model, images, labels, baseline=bounds[0], num_steps=2)
        jaxviz.deletion_curve(model, images, labels, images[..., 0], num_steps=2, baseline=number)
        jaxviz.insertion_curve(model, images, labels, images[..., 0], num_steps=2, baseline=images)
        features, head = jaxviz.split(model, images, "pool3")
        jaxviz.grad_cam(head, features(images), labels)
        jaxviz.occlusion(model, images, labels, window=16, stride=16, baseline=number)
        jaxviz.rise(model, images, labels, key=key, num_masks=2, cell=8, keep=min(float(number), 0.9))
        jaxviz.expected_gradients(model, images, labels, baselines=2 * images, key=key, num_samples=2)
        jaxviz.saliency_maps(jaxviz.relu_rule(model, "guided"), images, labels)

    all_methods(first, images[0], [0, 1], jax.random.key(0), 0.5, 3, (lower, 2))
    assert compilations() == [
        "_saliency_maps",
        "_fooling_images",
        "_class_visualizations",
        "_class_visualizations",
        "_pgd",
        "_pgd",
        "_smooth_grad",
        "_integrated_gradients",
        "_perturbation_curve",
        "_grad_cam",
        "_occlusion",
        "_rise",
        "_expected_gradients",
        "_saliency_maps",
    ]
    # other values, and the same things as other types
    all_methods(
        second, jnp.asarray(images[1]), np.array([2, 3], np.int8), jax.random.key(1), np.float64(1), 4, (-1, 1.5)
    )
    all_methods(second, images[1], jnp.array([3, 3]), jax.random.key(1), jnp.array(0.25), jnp.array(5), ([-1] * 3, 1))
    # one for each image is the same program, where numbers are not told apart
    each = np.array([0.1, 0.2])
    jaxviz.pgd(
        first, images[0], [0, 1], epsilon=each, step_size=each, num_steps=2, key=jax.random.key(0), bounds=(0, 1)
    )
    jaxviz.smooth_grad(first, images[0], [0, 1], key=jax.random.key(0), num_samples=2, noise_scale=each)
    assert compilations() == []


def test_methods_take_a_bfloat16_network():
    model = SqueezeNet("1_1", num_classes=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert model(jnp.asarray(images)).dtype == jnp.float32
    assert jaxviz.saliency_maps(model, images, [0, 1]).dtype == jnp.float32
    assert jaxviz.fooling_images(model, images, [0, 1], max_steps=2).images.dtype == jnp.float32
    result = jaxviz.class_visualizations(model, [0], key=jax.random.key(0), image_shape=(32, 32, 3), num_steps=2)
    assert result.images.dtype == result.scores.dtype == jnp.float32
    assert jaxviz.pgd(model, images, [0, 1], epsilon=0.1, num_steps=2).dtype == jnp.float32
    assert jaxviz.smooth_grad(model, images, [0, 1], key=jax.random.key(0), num_samples=2).dtype == jnp.float32
    assert jaxviz.integrated_gradients(model, images, [0, 1], num_steps=2).dtype == jnp.float32
    assert jaxviz.deletion_curve(model, images, [0, 1], images[..., 0], num_steps=2).auc.dtype == jnp.float32


@pytest.mark.parametrize("method", ["pgd", "smooth_grad", "integrated_gradients", "deletion_curve"])
def test_images_may_be_bfloat16(method):
    model = SqueezeNet("1_1", num_classes=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), jnp.bfloat16)
    extra = {
        "pgd": {"epsilon": 0.1, "norm": "l2", "key": jax.random.key(0)},
        "smooth_grad": {"key": jax.random.key(0), "num_samples": 2},
        "integrated_gradients": {},
        "deletion_curve": {"maps": images[..., 0], "num_steps": 2},
    }[method]
    found = getattr(jaxviz, method)(model, images, [0, 1], **extra)
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves(found))
