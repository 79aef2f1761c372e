"""The methods against PyTorch, captum and torchattacks, on real images and real weights.

Photographs have flat regions, where several elements of a pooling window are equal but for rounding, which chooses one
in each program its own way. So the inputs here are moved off the ties, and the rule for ties has a test of its own. In
float64 a millionth is enough; in float32, where a millionth is rounding itself, it is less than an 8-bit level.
"""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxviz
from jaxviz.images import IMAGENET_BOUNDS

torch = pytest.importorskip("torch", reason="the extra `convert` is not installed")
torchvision = pytest.importorskip("torchvision", reason="the extra `convert` is not installed")
attr = pytest.importorskip("captum.attr", reason="the extra `benchmarks` is not installed")
torchattacks = pytest.importorskip("torchattacks", reason="the extra `benchmarks` is not installed")

pytestmark = pytest.mark.parity

torch.set_num_threads(2)  # with one, PyTorch takes another convolution, and its scores are off in the fourth digit

WEIGHTS = "squeezenet1_1-torchvision.pth"
GOLDEN = Path(__file__).parent / "golden" / "torch_fooling.json"


def off_ties(values, dtype):
    size = 1e-6 if dtype == np.float64 else 1e-2
    return (np.asarray(values) + size * np.random.default_rng(0).standard_normal(values.shape)).astype(dtype)


class Pair(NamedTuple):
    """The same network in both programs, and what it is given, in one precision."""

    model: Any
    torch_model: torch.nn.Module
    images: np.ndarray


@pytest.fixture(scope="module")
def float32(shared_data, photographs):
    torch_model = torchvision.models.squeezenet1_1().eval().requires_grad_(False)
    torch_model.load_state_dict(torch.load(shared_data / WEIGHTS, weights_only=True))
    images = off_ties(jaxviz.images.from_uint8(photographs.pixels), np.float32)
    return Pair(jaxviz.load_model("squeezenet1_1", weights=shared_data / WEIGHTS), torch_model, images)


@pytest.fixture(scope="module")
def float64(float32, shared_data, photographs):
    with jax.enable_x64(True):
        model = jaxviz.load_model("squeezenet1_1", weights=shared_data / WEIGHTS, dtype=jnp.float64)
    images = off_ties(jaxviz.images.from_uint8(photographs.pixels), np.float64)
    return Pair(model, copy.deepcopy(float32.torch_model).double(), images)


@pytest.fixture(params=[pytest.param("float32", marks=pytest.mark.slow), "float64"])
def either(request):
    return request.getfixturevalue(request.param)


@contextlib.contextmanager
def precision_of(images):
    with jax.enable_x64(images.dtype == np.float64), jax.default_matmul_precision("highest"):
        yield


def as_torch(images):
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous()


def as_numpy(images):
    return images.detach().permute(0, 2, 3, 1).numpy()


def torch_maps(model, images, labels):
    x = as_torch(images).requires_grad_()
    model(x).gather(1, torch.from_numpy(labels).long()[:, None]).sum().backward()
    return np.abs(as_numpy(x.grad)).max(-1)


def test_saliency_maps(float32, photographs):
    """Relative to the map as a whole, since a map is not continuous.

    A unit whose input is zero up to rounding is on in one program and off in another, and some pixels jump. PyTorch's
    maps in float32 differ from its own in float64 in the same way.
    """
    model, torch_model, images = float32
    expected = torch_maps(torch_model, images, photographs.labels)
    with precision_of(images):
        maps = np.asarray(jaxviz.saliency_maps(model, images, photographs.labels))
    difference = np.abs(maps - expected).sum((1, 2)) / expected.sum((1, 2))
    print("relative differences", np.sort(difference))
    assert np.quantile(difference, 0.25) < 1e-6
    assert np.median(difference) < 1e-4
    assert (difference < 1e-3).mean() >= 0.9


def test_saliency_maps_in_float64_are_equal_in_every_pixel(float64, photographs):
    """Where rounding is too small to switch a unit, the two programs are one function."""
    model, torch_model, images = float64
    expected = torch_maps(torch_model, images, photographs.labels)
    with precision_of(images):
        maps = np.asarray(jaxviz.saliency_maps(model, images, photographs.labels))
    assert maps.dtype == np.float64
    difference = np.abs(maps - expected).max((1, 2)) / expected.max((1, 2))
    print("largest relative difference", difference.max())
    assert difference.max() < 1e-12


@pytest.mark.parametrize("size", [12, 13])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_ties_go_to_the_first_of_the_largest_in_row_major_order(levels, size):
    """All numbers are small integers, so no program rounds; one level is a constant image."""
    random = np.random.default_rng(0)
    images = random.integers(1, 1 + levels, (2, size, size, 3)).astype(np.float32)
    kernel = random.integers(-2, 3, (3, 3, 3, 4)).astype(np.float32)
    starts = range(0, size - 4, 2)  # of the windows that lie in what the convolution leaves
    weights = random.integers(-9, 10, (len(starts), len(starts), 4, 2)).astype(np.float32)
    labels = np.array([1, 0])

    def features(images):
        return jax.lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def model(images):
        pooled = nnx.max_pool(features(images), (3, 3), strides=(2, 2))
        return jnp.einsum("nhwc,hwck->nk", pooled, weights)

    class TorchModel(torch.nn.Module):
        def __init__(self, layout):
            super().__init__()
            self.layout = layout

        def forward(self, x):
            x = torch.nn.functional.conv2d(x, torch.from_numpy(kernel).permute(3, 2, 0, 1))
            pooled = torch.nn.functional.max_pool2d(x.contiguous(memory_format=self.layout), 3, 2)
            return torch.einsum("nchw,hwck->nk", pooled, torch.from_numpy(weights))

    activations, back = jax.vjp(features, images)
    cotangent = np.zeros(activations.shape, np.float32)
    for n, row, column, channel in np.ndindex(len(images), len(starts), len(starts), 4):
        window = activations[n, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3, channel]
        i, j = np.unravel_index(np.argmax(window), (3, 3))  # NumPy's is the first
        cotangent[n, 2 * row + i, 2 * column + j, channel] += weights[row, column, channel, labels[n]]
    (expected,) = back(cotangent)
    expected = np.abs(expected).max(-1)
    assert expected.max() > 0
    plain = jax.grad(lambda images: model(images)[np.arange(2), labels].sum())(images)
    for found in (
        jaxviz.saliency_maps(model, images, labels),
        np.abs(plain).max(-1),
        torch_maps(TorchModel(torch.contiguous_format), images, labels),
        torch_maps(TorchModel(torch.channels_last), images, labels),
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.fixture(scope="module")
def golden():
    """What PyTorch's loop did in float64, one image at a time; written by programs/torch_fooling.py."""
    return {name: np.array(values) for name, values in json.loads(GOLDEN.read_text()).items()}


def test_fooling_images_in_float64(float32, float64, golden):
    few = slice(0, 6)
    images = float32.images[few].astype(np.float64)
    with precision_of(images):
        result = jaxviz.fooling_images(float64.model, images, golden["targets"][few])
    np.testing.assert_array_equal(result.steps, golden["steps"][few])
    np.testing.assert_array_equal(result.fooled, golden["fooled"][few])


def test_fooling_images(float32, float64, golden):
    """A long way may part: what rounding changes grows with every step."""
    (model, _, images), targets = float32, golden["targets"]
    with precision_of(images):
        result = jaxviz.fooling_images(model, images, targets)
    difference = np.abs(np.asarray(result.steps) - golden["steps"])
    print("differences in steps", difference)
    assert result.fooled.mean() >= 0.95
    assert (difference <= 1).mean() >= 0.75
    assert (difference <= 5).mean() >= 0.95
    # what is called fooled is fooled for PyTorch, too
    classes = float64.torch_model(as_torch(result.images).double()).argmax(1).numpy()
    assert (classes == targets)[np.asarray(result.fooled)].all()


@pytest.mark.slow
def test_fooling_images_survive_a_png(float32, photographs, golden, tmp_path):
    model, targets = float32.model, golden["targets"][:8]
    images = jaxviz.images.from_uint8(photographs.pixels[:8])
    result = jaxviz.fooling_images(model, images, targets, bounds=IMAGENET_BOUNDS, levels=256)
    assert result.fooled.mean() >= 0.9
    paths = [tmp_path / f"{i}.png" for i in range(len(images))]
    for path, image in zip(paths, result.images, strict=True):
        jaxviz.images.save(path, image)
    classes = model(jaxviz.images.load(paths, size=224, resize=224)).argmax(1)
    np.testing.assert_array_equal(np.asarray(classes)[result.fooled], targets[result.fooled])


def torch_visualize(model, image, target, num_steps):
    """The practical's own loop, without jitter; the scores at each step."""
    x, scores = as_torch(image), []
    lower, upper = (torch.from_numpy(bound)[None, :, None, None].to(x.dtype) for bound in IMAGENET_BOUNDS)
    taps = torch.exp(-0.5 * (torch.arange(-2, 3) / 0.5) ** 2).to(x.dtype)
    kernel = (taps / taps.sum()).repeat(3, 1)
    for t in range(num_steps):
        x.requires_grad_()
        score = model(x)[0, target]
        scores.append(score.item())
        (gradient,) = torch.autograd.grad(score - 1e-3 * x.norm(), x)
        x = torch.clamp((x + 5 * gradient).detach(), lower, upper)
        if t % 10 == 0:  # scipy's reflection at an edge repeats the edge, as numpy's "symmetric" does
            padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="symmetric"))
            x = torch.nn.functional.conv2d(padded, kernel[:, None, :, None], groups=3)
            x = torch.nn.functional.conv2d(x, kernel[:, None, None, :], groups=3)
    return scores


def test_class_visualization(either):
    """The climb is chaotic: steps of 5 multiply a difference about tenfold each.

    So float32 agrees in the first steps alone, for PyTorch as for jaxviz. The clipped values are no ties: they make no
    regions.
    """
    (model, torch_model, images), target = either, 76
    double = images.dtype == np.float64
    num_steps = 30 if double else 3
    expected = torch_visualize(torch_model, images[:1], target, num_steps)
    with precision_of(images):
        result = jaxviz.class_visualizations(
            model, [target], key=jax.random.key(0), init_images=images[:1],
            num_steps=num_steps, max_jitter=0, bounds=IMAGENET_BOUNDS,
        )  # fmt: skip
        scores = np.asarray(result.scores[0])
    print("relative differences of the scores", np.abs(scores / expected - 1))
    np.testing.assert_allclose(scores, expected, rtol=1e-8 if double else 1e-4)
    assert not double or scores[-1] > 5 * scores[0]


@pytest.mark.slow
def test_tarantulas_from_noise(float32):
    """The last image of a climb may be any; most of the late ones are tarantulas."""
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    result = jaxviz.class_visualizations(
        float32.model, [76] * 3, key=keys, num_steps=100, bounds=IMAGENET_BOUNDS, snapshot_every=10
    )
    late = result.snapshots[:, 3:]
    classes = float32.model(late.reshape(-1, 224, 224, 3)).argmax(1)
    print("seen as", classes.reshape(3, -1), "scores", result.scores[:, ::10])
    assert (classes == 76).mean() >= 0.75
    assert (result.scores[:, -10:].mean(1) > 10 * result.scores[:, :1].mean(1)).all()


@pytest.mark.slow
def test_bfloat16_maps_rank_pixels_alike(shared_data, float32, photographs):
    from scipy.stats import spearmanr

    half = jaxviz.load_model("squeezenet1_1", weights=shared_data / WEIGHTS, dtype=jnp.bfloat16)
    images, labels = float32.images[:8], photographs.labels[:8]
    maps = [np.asarray(jaxviz.saliency_maps(m, images, labels)) for m in (float32.model, half)]
    correlations = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(*maps, strict=True)]
    print("rank correlations, bfloat16 with float32: median", np.median(correlations), "least", min(correlations))
    assert np.median(correlations) > 0.9


PIXEL_MEAN, PIXEL_STD = np.array(jaxviz.images.IMAGENET_MEAN), np.array(jaxviz.images.IMAGENET_STD)


def of_pixels(model, pixels):
    mean, std = (jnp.asarray(values, pixels.dtype)[None, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    return model((pixels - mean) / std)


class TorchOfPixels(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        mean, std = (torch.from_numpy(values)[:, None, None].to(pixels.dtype) for values in (PIXEL_MEAN, PIXEL_STD))
        return self.model((pixels - mean) / std)


def pixels_off_ties(photographs, dtype):
    """Too far from black and white to be clipped, since clipped regions are equal again; single pixels are not."""
    pixels = 0.1 + 0.8 * off_ties(photographs.pixels / 255, dtype)
    pixels[:, ::16, ::16] = np.round(pixels[:, ::16, ::16])
    return pixels.astype(dtype)


# Settings that float32 can hold
ATTACKS = {
    "FGSM": (jaxviz.fgsm, {"epsilon": 1 / 32}, {"eps": 1 / 32}),
    "PGD": (
        jaxviz.pgd,
        {"epsilon": 1 / 32, "step_size": 1 / 128, "num_steps": 5},
        {"eps": 1 / 32, "alpha": 1 / 128, "steps": 5, "random_start": False},
    ),
    "PGDL2": (
        jaxviz.pgd,
        {"epsilon": 1.0, "step_size": 0.375, "num_steps": 5, "norm": "l2"},
        {"eps": 1.0, "alpha": 0.375, "steps": 5, "random_start": False},
    ),
}


def torch_attack(name, model, pixels, labels, targeted, options):
    attack = getattr(torchattacks, name)(TorchOfPixels(model).eval(), **options)
    if targeted:
        attack.set_mode_targeted_by_label(quiet=True)
    return as_numpy(attack(as_torch(pixels), torch.from_numpy(labels).long()))


SLOW = {("FGSM", True), ("FGSM", False), ("PGD", False), ("PGDL2", True)}


@pytest.mark.parametrize(
    ("name", "targeted"),
    [
        pytest.param(name, targeted, marks=[pytest.mark.slow] * ((name, targeted) in SLOW))
        for name in ATTACKS
        for targeted in (False, True)
    ],
)
def test_attacks_in_float64(float64, photographs, name, targeted):
    """Equal in every pixel; torchattacks adds 1e-10 to each norm that it divides by."""
    attack, options, theirs = ATTACKS[name]
    pixels = pixels_off_ties(photographs, np.float64)[:3]
    labels = photographs.labels[:3] if not targeted else np.array([6, 76, 113])
    expected = torch_attack(name, float64.torch_model, pixels, labels, targeted, theirs)
    with precision_of(pixels):
        wrapped = jax.tree_util.Partial(of_pixels, float64.model)
        found = np.asarray(attack(wrapped, pixels, labels, targeted=targeted, bounds=(0, 1), **options))
    assert found.dtype == np.float64
    assert np.abs(expected - pixels).max() > 1 / 255
    assert {0, 1} <= set(expected[:, ::16, ::16].ravel())
    print(name, "largest difference of a pixel", np.abs(found - expected).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 if name == "PGDL2" else 1e-15)


def test_fgsm_in_float32(float32, photographs):
    """A sign turns where the gradient is zero up to rounding; the other values are equal.

    More steps multiply what differs: after the five of PGD above, PyTorch in float32 agrees with itself in float64 on
    half the values of one image in eight.
    """
    attack, options, theirs = ATTACKS["FGSM"]
    pixels, labels = pixels_off_ties(photographs, np.float32)[:8], photographs.labels[:8]
    expected = torch_attack("FGSM", float32.torch_model, pixels, labels, False, theirs)
    with precision_of(pixels):
        found = attack(jax.tree_util.Partial(of_pixels, float32.model), pixels, labels, bounds=(0, 1), **options)
    equal = (np.abs(found - expected) < 1e-6).mean((1, 2, 3))
    print("share of equal values, by image", equal)
    assert np.median(equal) > 0.9999
    assert equal.min() > 0.998


def assert_equal_to(found, expected, tolerance):
    """In float64 in every value, over the largest; in float32, where units switch by rounding, as a whole."""
    difference = np.abs(found - expected)
    if found.dtype == np.float64:
        difference = difference.reshape(len(found), -1).max(1) / np.abs(expected).reshape(len(found), -1).max(1)
    else:
        difference = difference.reshape(len(found), -1).sum(1) / np.abs(expected).reshape(len(found), -1).sum(1)
    print("relative differences", difference)
    assert difference.max() < tolerance


def captum_maps(model, images, labels, noise, scale):
    """SmoothGrad of captum, with the noise given to it instead of its own."""
    tunnel = attr.NoiseTunnel(attr.Saliency(model))

    def add(images, _, samples):
        assert len(noise) == len(images) * samples
        return images.repeat_interleave(samples, 0) + scale * noise

    tunnel._add_noise_to_input = add
    found = tunnel.attribute(
        as_torch(images), target=torch.from_numpy(labels).long(), nt_samples=len(noise) // len(images), abs=False
    )
    return np.abs(as_numpy(found)).max(-1)


def test_smooth_grad(either, photographs):
    few, labels, key, samples = either.images[:2], photographs.labels[:2], jax.random.key(0), 6
    with precision_of(few):
        keys = [jax.random.fold_in(jax.random.fold_in(key, i), s) for i in range(2) for s in range(samples)]
        noise = np.stack([jax.random.normal(key, few.shape[1:], few.dtype) for key in keys])
        maps = np.asarray(jaxviz.smooth_grad(either.model, few, labels, key=key, num_samples=samples))
    expected = captum_maps(either.torch_model, few, labels, as_torch(noise), 0.5)
    assert_equal_to(maps, expected, 1e-12 if few.dtype == np.float64 else 1e-3)


def test_integrated_gradients(either, photographs):
    few, labels, black = either.images[:2], photographs.labels[:2], IMAGENET_BOUNDS[0]
    with precision_of(few):
        found = np.asarray(jaxviz.integrated_gradients(either.model, few, labels, baseline=black, num_steps=10))
    baselines = as_torch(np.broadcast_to(black.astype(few.dtype), few.shape))
    expected = as_numpy(
        attr.IntegratedGradients(either.torch_model).attribute(
            as_torch(few), baselines, target=torch.from_numpy(labels).long(), n_steps=10, method="gausslegendre"
        )
    )
    # captum keeps the rule's weights in float32
    assert_equal_to(found, expected, 1e-7 if few.dtype == np.float64 else 1e-3)
