"""The networks that a report looks at, and how a batch goes through one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxviz import weights
from jaxviz._core.arguments import as_images
from jaxviz._core.model import Model, as_model
from jaxviz._core.sharding import DataParallel, jit_over_examples
from jaxviz._rewrite.batching import map_examples

_TITLES = {"squeezenet1_0": "SqueezeNet 1.0", "squeezenet1_1": "SqueezeNet 1.1", "vgg16": "VGG16"}
_SQUEEZENET = {"conv10": "conv10", **{f"fire{i}": f"fires/{i - 2}" for i in range(9, 1, -1)}, "conv1": "conv1"}
_CONVOLUTIONS = [
    (block, conv) for block, convs in ((5, 3), (4, 3), (3, 3), (2, 2), (1, 2)) for conv in range(convs, 0, -1)
]
_VGG = {
    **{name: name for name in ("fc8", "fc7", "fc6")},
    **{f"conv{block}_{conv}": f"blocks/{block - 1}/{conv - 1}" for block, conv in _CONVOLUTIONS},
}
_LAYERS = {"squeezenet1_0": _SQUEEZENET, "squeezenet1_1": _SQUEEZENET, "vgg16": _VGG}


class Network(NamedTuple):
    """A network of 1000 ImageNet classes, for ImageNet-normalized images, and what is known of it.

    Attributes:
        name: as the report calls it.
        model: images (n, h, w, 3) -> raw scores (n, 1000).
        source: where the weights are from.
        sha256: of the file they are from.
        layers: the layers that hold weights, by name, the last one first; each is the beginning of the paths of its
            leaves in the model's pytree.
    """

    name: str
    model: Model
    source: str
    sha256: str
    layers: Mapping[str, str]


def load(names: Sequence[str]) -> list[Network]:
    """The networks of "NAME" or "NAME=WEIGHTS", such as "vgg16" or "squeezenet1_1=file.pth".

    Raises:
        ValueError: the same network twice, or what `load_model` says.
    """
    if not names:
        raise ValueError("`names` is empty; give at least one network.")
    if len(set(names)) < len(names):
        raise ValueError(f"the networks must differ, got {', '.join(names)}.")
    parts = [name.partition("=") for name in names]
    architectures = [name for name, _, _ in parts]
    networks = []
    for name, _, source in parts:
        found = weights.find(name, source or None)
        title = _TITLES[name]
        if architectures.count(name) > 1:  # told apart by their weights
            title += f" ({Path(source).stem if source else 'default'})"
        networks.append(
            Network(title, weights.filled(found, jnp.float32), found.source, found.source_sha256, _LAYERS[name])
        )
    return networks


def scores(model: Model, images: ArrayLike) -> Float[Array, "n k"]:
    """Raw scores of a batch; within `data_parallel`, split over the devices as the methods are."""
    return _scores(as_model(model), as_images(images))


@jit_over_examples()
def _scores(model: Model, images: Float[Array, "n h w c"]) -> Float[Array, "n k"]:
    return map_examples(lambda image: model(image[None])[0], images)


def in_chunks(
    method: DataParallel[..., Any] | Callable[..., Any],
    model: Any,
    *examples: Any,
    size: int,
    each: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """`method(model, *examples, **settings)` by `size` examples at a time, so that one program serves every number.

    Args:
        method: one of jaxviz's, or `data_parallel` of it.
        model: as of the method.
        examples: arrays of leading axis n.
        size: examples at a time; the last piece is filled up with its last example.
        each: settings with one value, or key, for each example.
        settings: settings that are the same for all.

    Returns:
        The method's result as numpy arrays.
    """
    count, pieces = len(examples[0]), []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        own = {name: values[rows] for name, values in (each or {}).items()}
        result = method(model, *(jnp.asarray(values)[rows] for values in examples), **own, **settings)
        pieces.append(jax.device_get(result))
    return jax.tree.map(lambda *parts: np.concatenate(parts)[:count], *pieces)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Probabilities of raw scores (n, k), in double precision."""
    powers = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def untrained(model: Any, layer: str, *, seed: Sequence[int]) -> Any:
    """The model with one layer as before any training: normal weights of the layer's own deviation, biases 0.

    Args:
        model: a pytree.
        layer: the beginning of the paths of its leaves, such as "fires/7".
        seed: numbers of 0 or more.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz.report._networks import untrained
        >>> print(untrained({"a": {"bias": jnp.ones(2)}, "b": {"bias": jnp.ones(2)}}, "b", seed=[0]))
        {'a': {'bias': Array([1., 1.], dtype=float32)}, 'b': {'bias': Array([0., 0.], dtype=float32)}}
    """
    random = np.random.default_rng(seed)

    def anew(path: Any, leaf: Array) -> Array:
        if not (jax.tree_util.keystr(path, simple=True, separator="/") + "/").startswith(f"{layer}/"):
            return leaf
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        return jnp.asarray(
            random.standard_normal(leaf.shape, np.float32) * np.asarray(leaf, np.float32).std(), leaf.dtype
        )

    return jax.tree_util.tree_map_with_path(anew, model)
