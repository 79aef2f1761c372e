"""Methods on layers, ReLU rules and masks against captum and pytorch-grad-cam, in float64 on real images."""

import copy
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz

torch = pytest.importorskip("torch", reason="the extra `convert` is not installed")
torchvision = pytest.importorskip("torchvision", reason="the extra `convert` is not installed")
attr = pytest.importorskip("captum.attr", reason="the extra `benchmarks` is not installed")
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="the extra `benchmarks` is not installed")

pytestmark = pytest.mark.parity

WEIGHTS = "squeezenet1_1-torchvision.pth"
COUNT = 4
# from our names to torchvision's: `features.12` is fire9, `features.2` the first pooling, `classifier.1` conv10
TORCH_LAYERS = {"pool1": "features.2", "fire5": "features.7", "fire9": "features.12", "conv10": "classifier.1"}


class Pair(NamedTuple):
    model: Any
    torch_model: torch.nn.Module
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module")
def pair(shared_data, photographs):
    torch_model = torchvision.models.squeezenet1_1().eval().double()
    torch_model.load_state_dict(torch.load(shared_data / WEIGHTS, weights_only=True))
    for module in torch_model.modules():
        if hasattr(module, "inplace"):  # captum and hooks need the values before the ReLU
            module.inplace = False
    images = np.asarray(jaxviz.images.from_uint8(photographs.pixels[:COUNT]), np.float64)
    images += 1e-6 * np.random.default_rng(0).standard_normal(images.shape)  # off the ties of pooling
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        model = jaxviz.load_model("squeezenet1_1", weights=shared_data / WEIGHTS, dtype=jnp.float64)
        yield Pair(model, torch_model, images, photographs.labels[:COUNT])


def as_torch(images):
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous()


def as_numpy(values):
    return values.detach().permute(0, 2, 3, 1).numpy()


def assert_close(found, expected, tolerance=1e-10):
    expected = np.asarray(expected)
    assert found.dtype == np.float64
    assert np.abs(expected).max() > 0
    difference = np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()
    print("largest relative difference", difference)
    assert difference < tolerance


@pytest.mark.parametrize("layer", TORCH_LAYERS)
def test_grad_cam_is_captums(pair, layer):
    features, head = jaxviz.split(pair.model, pair.images, layer)
    found = jaxviz.grad_cam(head, features(pair.images), pair.labels)
    reference = attr.LayerGradCam(pair.torch_model, pair.torch_model.get_submodule(TORCH_LAYERS[layer]))
    expected = reference.attribute(as_torch(pair.images), torch.from_numpy(pair.labels), relu_attributions=True)
    assert_close(found, expected.detach()[:, 0])


@pytest.mark.parametrize(
    ("variant", "reference"),
    [("grad_cam", "GradCAM"), ("grad_cam++", "GradCAMPlusPlus"), ("hires_cam", "HiResCAM"), ("layer_cam", "LayerCAM")],
)
def test_the_variants_are_those_of_pytorch_grad_cam(pair, variant, reference):
    """Its GradCAM++ adds 1e-6 to a denominator of squared gradients: nothing to gradients of scores times 1e10."""
    scale = 1e10
    torch_model = copy.deepcopy(pair.torch_model)
    torch_model.classifier.append(torch.nn.Flatten())
    with torch.no_grad():
        torch_model.classifier[1].weight *= scale
        torch_model.classifier[1].bias *= scale
    features, head = jaxviz.split(pair.model, pair.images, "fire9")
    scaled = jax.tree_util.Partial(lambda head, activations: scale * head(activations), head)
    activations = features(pair.images)
    found = jaxviz.grad_cam(scaled, activations, pair.labels, variant=variant)
    cam = getattr(pytorch_grad_cam, reference)(torch_model, [torch_model.features[12]])
    # Its own steps but for the last, which scales each map to 0 to 1 in float32
    hooks = cam.activations_and_grads
    scores = hooks(as_torch(pair.images))
    scores[torch.arange(COUNT), torch.from_numpy(pair.labels)].sum().backward()
    arrays = [values[0].numpy() for values in (hooks.activations, hooks.gradients)]
    expected = cam.get_cam_image(as_torch(pair.images), torch_model.features[12], None, *arrays, False)
    assert_close(found, np.maximum(expected, 0))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(("rule", "reference"), [("guided", "GuidedBackprop"), ("deconv", "Deconvolution")])
def test_relu_rules_are_captums(pair, rule, reference):
    ruled = jaxviz.relu_rule(pair.model, rule)
    score = lambda images: ruled(images)[jnp.arange(COUNT), pair.labels].sum()  # noqa: E731
    found = jax.jit(jaxviz.accelerate(jax.grad(score)))(pair.images)
    images = as_torch(pair.images).requires_grad_()  # otherwise captum warns
    expected = getattr(attr, reference)(pair.torch_model).attribute(images, torch.from_numpy(pair.labels))
    assert_close(found, as_numpy(expected))
    maps = jaxviz.saliency_maps(ruled, pair.images, pair.labels)
    assert_close(maps, np.abs(as_numpy(expected)).max(-1))


@pytest.mark.parametrize(("window", "stride"), [(64, 40), (50, 50)])
def test_occlusion_is_captums(pair, window, stride):
    """captum gives each pixel the mean of the windows that cover it, in float32."""
    found = np.asarray(jaxviz.occlusion(pair.model, pair.images, pair.labels, window=window, stride=stride))
    expected = attr.Occlusion(pair.torch_model).attribute(
        as_torch(pair.images), (3, window, window), (3, stride, stride), target=torch.from_numpy(pair.labels)
    )
    total, count = np.zeros((COUNT, 224, 224)), np.zeros((224, 224))
    for i, j in np.ndindex(found.shape[1:]):
        place = slice(i * stride, i * stride + window), slice(j * stride, j * stride + window)
        total[:, *place] += found[:, i, j, None, None]
        count[place] += 1
    assert_close(total / count, expected.numpy()[:, 0], 2e-7)


def test_expected_gradients_are_captums_gradient_shap_of_the_same_draws(pair, monkeypatch):
    samples, key = 3, jax.random.key(0)
    baselines = 0.5 * pair.images[::-1][:3].copy()
    found = jaxviz.expected_gradients(
        pair.model, pair.images, pair.labels, baselines=baselines, key=key, num_samples=samples
    )
    places, points = [], []
    for i in range(COUNT):
        for s in range(samples):
            place, point = jax.random.split(jax.random.fold_in(jax.random.fold_in(key, i), s))
            places.append(int(jax.random.randint(place, (), 0, len(baselines))))
            points.append(float(jax.random.uniform(point, dtype=jnp.float64)))
    monkeypatch.setattr(np.random, "choice", lambda *args, **kwargs: np.array(places))
    monkeypatch.setattr(np.random, "uniform", lambda *args, **kwargs: np.array(points))
    expected = attr.GradientShap(pair.torch_model).attribute(
        as_torch(pair.images), as_torch(baselines), samples, 0.0, target=torch.from_numpy(pair.labels)
    )
    assert_close(found, as_numpy(expected))
