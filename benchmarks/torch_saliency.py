"""Saliency maps in PyTorch, by hand and by captum."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.prepared import Prepared
from benchmarks.torch_network import network, scores_of, tensors
from benchmarks.workloads import Workload


def prepare(
    workload: Workload, arrays: dict[str, np.ndarray], folder: Path, *, layout: str, captum: bool = False
) -> Prepared:
    """The whole batch at once, as PyTorch users do."""
    model = network(workload, folder, layout)
    images, labels = tensors(arrays, layout)
    if captum:
        from captum.attr import Saliency

        saliency = Saliency(model)

        def run() -> torch.Tensor:
            return saliency.attribute(images.detach().requires_grad_(), target=labels).amax(1)

    else:

        def run() -> torch.Tensor:
            x = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(scores_of(model, x, labels).sum(), x)
            return gradient.abs().amax(1)

    return Prepared(run, lambda maps: {"maps": maps.numpy()})
