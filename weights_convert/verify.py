"""Compares a converted model with torchvision: each stage, the scores and the input gradient."""

import collections
import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from weights_convert import sources

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-4
# 224, the training size, and a size with odd edges in pooling (or uneven bins)
_SIZES = {"squeezenet1_0": (224, 227), "squeezenet1_1": (224, 227), "vgg16": (224, 192)}
_LAST = {"squeezenet1_0": "classifier.1.bias", "squeezenet1_1": "classifier.1.bias", "vgg16": "classifier.6.bias"}


def verify(name: str, checkpoint: Path, converted: Path) -> float:
    """Prints a table of the differences between a converted file and torchvision with the original checkpoint.

    torchvision's model loads the checkpoint itself, so that an error in our tables cannot cancel.

    Args:
        name: "squeezenet1_0", "squeezenet1_1" or "vgg16".
        checkpoint: a state dict with torchvision's names.
        converted: the .safetensors file.

    Returns:
        The largest difference, NaN if one is NaN. Above `TOLERANCE` the conversion is wrong.

    Raises:
        ValueError, ImportError, OSError: errors of `jaxviz.load_model`.
    """
    import jaxviz

    model, torch_model = jaxviz.load_model(name, weights=converted), _torch_model(name, checkpoint)
    columns = [dict(differences(model, torch_model, size)) for size in _SIZES[name]]
    print(f"Largest relative difference to torchvision\n{'stage':<15}" + "".join(f"{n:>10}" for n in _SIZES[name]))
    for stage in columns[0]:
        print(f"{stage:<15}" + "".join(f"{column[stage]:>10.1e}" for column in columns))
    return float(np.max([list(column.values()) for column in columns]))


def differences(
    model: Any, torch_model: "torch.nn.Module", size: int | tuple[int, int], *, seed: int = 0
) -> list[tuple[str, float]]:
    """Compares our model with torchvision's on one random image, at matmul precision "highest".

    The difference of two arrays is max |ours - theirs| / max |theirs|. Both gradients are computed in float64. The
    gradient is discontinuous where a ReLU's input changes its sign or two pooled values change their order, and float32
    rounding causes a few such changes among millions of values: PyTorch's own gradients in float32 and float64 differ
    by up to 6 %.

    Args:
        model: a `jaxviz.models` network.
        torch_model: torchvision's model of the same network, in evaluation mode.
        size: image size: h = w, or (h, w).
        seed: seed of the image.

    Returns:
        (stage, difference) of each stage in order. The last two are "scores" and "input gradient", the gradient of
        torchvision's highest score. The difference of arrays with unequal shapes is infinity.
    """
    height, width = (size, size) if isinstance(size, int) else size
    image = np.random.default_rng(seed).standard_normal((1, height, width, 3), np.float32)
    theirs = _torch_stages(torch_model, image)
    label = int(theirs[-1].argmax())
    with jax.default_matmul_precision("highest"):
        ours = _stages(model, image)
        with jax.enable_x64(True), jax.default_device("cpu"):  # some accelerators have no float64
            gradient = _gradient(_double(model), image.astype(np.float64), label)
    pairs = [
        *((stage, array, their) for (stage, array), their in zip(ours.items(), theirs, strict=True)),
        ("input gradient", gradient, _torch_gradient(torch_model, image, label)),
    ]
    return [(stage, _relative(np.asarray(array), their)) for stage, array, their in pairs]


@jax.jit
def _stages(model: Any, image: Any) -> dict[str, Any]:
    return collections.OrderedDict(model.stages(image))  # jit would sort a plain dict


@jax.jit
def _gradient(model: Any, image: Any, label: Any) -> Any:
    return jax.grad(lambda image: model(image)[0, label])(image)


def _double(model: Any) -> Any:
    """A copy that computes in float64."""
    from flax import nnx

    model = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), model)
    for _, layer in nnx.iter_modules(model):
        if isinstance(layer, nnx.Conv | nnx.Linear):
            layer.dtype = np.float64
    return model


def _torch_model(name: str, checkpoint: Path) -> "torch.nn.Module":
    import torch
    import torchvision.models

    state = sources.read_state_dict(checkpoint)
    with torch.device("meta"):  # without random initial weights
        model = torchvision.models.get_model(name, num_classes=len(state[_LAST[name]]))
    model.load_state_dict(state, assign=True)
    return model.float().eval()


def _torch_stages(model: "torch.nn.Module", image: np.ndarray) -> list[np.ndarray]:
    """The outputs of the layers that end our stages, and the scores."""
    import torch
    from torch import nn
    from torchvision.models.squeezenet import Fire

    # VGG16's adaptive pooling is the only layer outside a sequence.
    layers = [layer for child in model.children() for layer in (child if isinstance(child, nn.Sequential) else [child])]
    kinds = (nn.ReLU, nn.MaxPool2d, Fire)
    ends = [layer for layer in layers if isinstance(layer, kinds) or layer is getattr(model, "avgpool", None)]
    outputs: list[Any] = []
    hooks = [layer.register_forward_hook(lambda _layer, _inputs, output: outputs.append(output)) for layer in ends]
    try:
        with torch.no_grad():
            outputs.append(model(torch.from_numpy(image).movedim(-1, 1)))
    finally:
        for hook in hooks:
            hook.remove()
    return [(output.movedim(1, -1) if output.ndim == 4 else output).numpy() for output in outputs]


def _torch_gradient(model: "torch.nn.Module", image: np.ndarray, label: int) -> np.ndarray:
    import torch

    pixels = torch.from_numpy(image).double().movedim(-1, 1).requires_grad_()
    score = copy.deepcopy(model).double()(pixels)[0, label]
    return torch.autograd.grad(score, pixels)[0].movedim(1, -1).numpy()


def _relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
