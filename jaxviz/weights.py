"""Pretrained models: loads, checks and caches their weights."""

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import platformdirs
from jax.typing import DTypeLike

import weights_convert
from weights_convert.tables import check_names

if TYPE_CHECKING:
    from jaxviz.models import VGG16, SqueezeNet

# The sources of each architecture by name, the default first
_SOURCES = {
    "squeezenet1_0": ("torchvision",),
    "squeezenet1_1": ("caffe", "torchvision"),
    "vgg16": ("torchvision",),
}


def load_model(
    name: str, *, weights: str | os.PathLike[str] | None = None, dtype: DTypeLike = jnp.float32
) -> "SqueezeNet | VGG16":
    """A pretrained network in evaluation mode: images (n, h, w, 3) -> raw scores (n, k).

    For every source, images are ImageNet-normalized RGB (`jaxviz.images`). Converted weights are cached in
    `$JAXVIZ_CACHE`, or else in the platform's cache folder.

    Args:
        name: "squeezenet1_0", "squeezenet1_1" or "vgg16".
        weights: the source:
            "caffe", the authors' SqueezeNet 1.1 (its default), without download, with the extra `app`;
            "torchvision", torchvision's official file (the default of the others), downloaded once, verified by its
            SHA-256, converted and cached; needs the extra `convert`;
            or the path of a .safetensors file from `python -m weights_convert`, or of a .pth state dict with
            torchvision's names (extra `convert`). A file may have any number of classes.
        dtype: floating-point type of weights and activations, with a sufficient range: the activations of SqueezeNet
            1.1 with the weights "caffe" reach 1600, too large for `float8_e4m3fn`. Scores are float32 or wider.
            `float64` needs x64, `jax.enable_x64(True)`, here and where the model is used.

    Returns:
        An NNX module. It is a pytree, which the methods and `jax.jit` accept.

    Raises:
        ValueError: unknown name or source; a dtype that is not floating point, or that JAX would narrow; a damaged
            file, or the file of another network.
        ImportError: the extra that the source needs is not installed.
        ConnectionError: the download failed.
        OSError: a file or the cache folder cannot be read or written.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxviz
        >>> model = jaxviz.load_model("squeezenet1_1")
        >>> model(jnp.zeros((1, 224, 224, 3))).shape
        (1, 1000)
    """
    dtype = _floating(dtype)
    return filled(find(name, weights), dtype)


def _floating(dtype: DTypeLike) -> np.dtype[Any]:
    """The dtype, if it is floating point and enabled in JAX."""
    try:
        kept = jax.dtypes.canonicalize_dtype(dtype)
    except TypeError:  # not a dtype
        kept = None
    if kept is None or not jnp.issubdtype(kept, jnp.floating):
        raise ValueError(f"`dtype` must be floating point, such as `jnp.float32`, got {dtype!r}.")
    if kept != jnp.dtype(dtype):
        raise ValueError(
            f"`dtype` {jnp.dtype(dtype)} needs x64, without which JAX narrows it to {kept}: load and use the model "
            f'inside `with jax.enable_x64(True):`, or call `jax.config.update("jax_enable_x64", True)` first.'
        )
    return kept


def find(name: str, weights: str | os.PathLike[str] | None) -> weights_convert.Weights:
    """The arrays for `load_model`, and their source."""
    if name not in _SOURCES:
        raise ValueError(f"`name` must be one of {_listed(_SOURCES)}, got {name!r}.")
    loaded = _find(name, _SOURCES[name][0] if weights is None else weights)
    if loaded.architecture != name:
        raise ValueError(f"`weights` {os.fspath(weights or '')!r} are of {loaded.architecture}, not of {name}.")
    return loaded


def fingerprint(model: Any) -> str:
    """SHA-256 of a model's arrays in order, independent of their file."""
    sha256 = hashlib.sha256()
    for leaf in jax.tree.leaves(model):
        array = np.asarray(leaf)
        sha256.update(f"{array.dtype} {array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).view(np.uint8).data)
    return sha256.hexdigest()


def cache_folder() -> Path:
    """The folder for converted weights and for the command line's compiled programs."""
    return Path(os.environ.get("JAXVIZ_CACHE") or platformdirs.user_cache_dir("jaxviz"))


def _find(name: str, weights: str | os.PathLike[str]) -> weights_convert.Weights:
    if weights == "caffe" and weights in _SOURCES[name]:
        return weights_convert.caffe()
    if weights == "torchvision":
        folder = cache_folder()
        cached = folder / f"{name}-torchvision.safetensors"
        if not cached.exists():
            weights_convert.write(cached, weights_convert.official(name, folder))
        return weights_convert.read(cached)
    path = Path(weights)
    if path.suffix == ".safetensors":
        return weights_convert.read(path)
    if path.suffix in (".pth", ".pt"):
        return weights_convert.torchvision(path, name)
    raise ValueError(
        f"`weights` of {name} must be {_listed(_SOURCES[name])}, or the path of a .safetensors or .pth file, "
        f"got {os.fspath(weights)!r}."
    )


def filled(weights: weights_convert.Weights, dtype: DTypeLike) -> Any:
    """The network with these weights. Removes the arrays from `weights`."""
    name, arrays = weights.architecture, weights.arrays
    model = _abstract(name, arrays, dtype)
    names, leaves, structure = by_name(model)
    check_names(arrays, names)
    for key, leaf in zip(names, leaves, strict=True):
        if arrays[key].shape != leaf.shape:
            raise ValueError(f"`weights` do not fit {name}: {key} has shape {arrays[key].shape}, not {leaf.shape}.")
    # Remove the arrays one by one, so that there are never two copies of all weights.
    return structure.unflatten([jnp.asarray(arrays.pop(key), dtype) for key in names])


def by_name(model: Any) -> tuple[list[str], list[Any], Any]:
    """The names of a network's arrays, as in its weight files; the arrays; and the tree structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(model)
    names = [jax.tree_util.keystr(path[:-1], simple=True, separator="/") for path, _ in leaves]  # without "value"
    return names, [leaf for _, leaf in leaves], structure


def _abstract(name: str, arrays: dict[str, Any], dtype: DTypeLike) -> Any:
    """The network without weights, with the number of classes in `arrays`."""
    from flax import nnx  # here, because the methods do not need it

    from jaxviz.models import VGG16, SqueezeNet

    build = {
        "squeezenet1_0": functools.partial(SqueezeNet, "1_0"),
        "squeezenet1_1": functools.partial(SqueezeNet, "1_1"),
        "vgg16": VGG16,
    }[name]
    last = arrays.get("conv10/bias", arrays.get("fc8/bias"))
    num_classes = 1000 if last is None else len(last)
    return nnx.eval_shape(lambda: build(num_classes=num_classes, dtype=dtype, rngs=nnx.Rngs(0)))


def _listed(names: Any) -> str:
    return " or ".join(repr(name) for name in names)
