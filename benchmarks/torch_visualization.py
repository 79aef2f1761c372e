"""Class visualization in PyTorch: one class at a time, or all in one batch."""

from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from benchmarks.prepared import Prepared
from benchmarks.torch_network import network, scores_of, tensors
from benchmarks.workloads import (
    BLUR_EVERY,
    BLUR_SIGMA,
    CLIMBING_STEP,
    IMAGENET_MEAN,
    IMAGENET_STD,
    L2_WEIGHT,
    Workload,
)

_MEAN, _STD = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
_BOUNDS = tuple(((value - _MEAN) / _STD)[:, None, None] for value in (0, 1))


def prepare(
    workload: Workload, arrays: dict[str, np.ndarray], folder: Path, *, layout: str, one_batch: bool = False
) -> Prepared:
    """Each climb starts from the same noise, and is shifted by the same offsets, as jaxviz's."""
    model = network(workload, folder, layout)
    images, targets = tensors(arrays, layout)
    offsets = torch.from_numpy(arrays["offsets"])
    at_once = workload.examples if one_batch else 1

    def run() -> list[torch.Tensor]:
        parts = (tensor.split(at_once) for tensor in (images, targets, offsets))
        return [_climb(model, *part) for part in zip(*parts, strict=True)]

    return Prepared(run, lambda scores: {"scores": torch.cat(scores).numpy()})


def _climb(model: torch.nn.Module, x: torch.Tensor, targets: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """The score of each image at each step, (n, steps)."""
    history = []
    for step, offset in enumerate(offsets.unbind(1)):
        x = _shifted(x, offset).requires_grad_()
        scores = scores_of(model, x, targets)
        history.append(scores.detach())
        norms = x.flatten(1).norm(dim=1)
        (gradient,) = torch.autograd.grad((scores - L2_WEIGHT * norms).sum(), x)
        x = _shifted(x.detach() + CLIMBING_STEP * gradient, -offset)
        x = x.clamp(*_BOUNDS)
        if step % BLUR_EVERY == 0:
            x = _blurred(x)
    return torch.stack(history, dim=1)


def _shifted(x: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    if len(x) == 1:
        return x.detach().roll(tuple(offsets[0].tolist()), (2, 3))
    return torch.stack([image.roll(tuple(offset.tolist()), (1, 2)) for image, offset in zip(x, offsets, strict=True)])


def _blurred(x: torch.Tensor) -> torch.Tensor:
    """As the practical does it, which takes half of the time of two grouped convolutions."""
    rows = gaussian_filter1d(x.numpy(), BLUR_SIGMA, axis=2)
    return torch.from_numpy(gaussian_filter1d(rows, BLUR_SIGMA, axis=3))
