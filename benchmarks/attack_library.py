"""Fooling images by torchattacks' L2 PGD, which has no stop: every image takes every step."""

from pathlib import Path

import numpy as np
import torch
import torchattacks

from benchmarks.prepared import Prepared
from benchmarks.torch_network import network, tensors
from benchmarks.workloads import FOOLING_STEP, IMAGENET_MEAN, IMAGENET_STD, Workload

_AT_ONCE = 32


class _Normalized(torch.nn.Module):
    """The network on pixels in 0 to 1, which is what the library works on."""

    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model((pixels - self.mean) / self.std)


def prepare(workload: Workload, arrays: dict[str, np.ndarray], folder: Path) -> Prepared:
    """The same step size on average over the channels, and no bound on the whole way.

    Contiguous: the library takes views of gradients that another layout does not allow.
    """
    model = _Normalized(network(workload, folder, "contiguous")).eval()
    images, targets = tensors(arrays, "contiguous")
    pixels = (images * model.std + model.mean).clamp(0, 1)
    attack = torchattacks.PGDL2(
        model, eps=1e6, alpha=FOOLING_STEP * float(np.mean(IMAGENET_STD)), steps=workload.steps, random_start=False
    )
    attack.set_mode_targeted_by_label(quiet=True)

    def run() -> torch.Tensor:
        chunks = zip(pixels.split(_AT_ONCE), targets.split(_AT_ONCE), strict=True)
        return torch.cat([attack(some, wanted) for some, wanted in chunks])

    def arrays_of(fooling: torch.Tensor) -> dict[str, np.ndarray]:
        with torch.no_grad():
            fooled = torch.cat([model(some).argmax(1) for some in fooling.split(_AT_ONCE)]) == targets
        return {"steps": np.full(len(targets), workload.steps), "fooled": fooled.numpy()}

    return Prepared(run, arrays_of)
