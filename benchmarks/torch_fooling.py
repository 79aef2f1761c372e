"""Fooling images in PyTorch: one by one, or a batch from which finished images are dropped."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.prepared import Prepared
from benchmarks.torch_network import network, tensors
from benchmarks.workloads import FOOLING_STEP, Workload


def prepare(workload: Workload, arrays: dict[str, np.ndarray], folder: Path, *, layout: str, at_once: int) -> Prepared:
    """`at_once` images in flight; one means the practical's own loop."""
    model = network(workload, folder, layout)
    images, targets = tensors(arrays, layout)

    def one_by_one() -> tuple[list[int], list[bool]]:
        pairs = [_fool_one(model, x, int(t), workload.steps) for x, t in zip(images, targets, strict=True)]
        return [steps for steps, _ in pairs], [fooled for _, fooled in pairs]

    def in_batches() -> tuple[torch.Tensor, torch.Tensor]:
        pairs = [
            _fool_batch(model, x, t, workload.steps)
            for x, t in zip(images.split(at_once), targets.split(at_once), strict=True)
        ]
        return torch.cat([steps for steps, _ in pairs]), torch.cat([fooled for _, fooled in pairs])

    run = one_by_one if at_once == 1 else in_batches
    return Prepared(run, lambda pair: {"steps": np.asarray(pair[0]), "fooled": np.asarray(pair[1])})


def _fool_one(model: torch.nn.Module, image: torch.Tensor, target: int, max_steps: int) -> tuple[int, bool]:
    x, steps = image[None], 0
    while True:
        x = x.detach().requires_grad_()
        scores = model(x)
        fooled = bool(scores.argmax() == target)
        if fooled or steps == max_steps:
            return steps, fooled
        (gradient,) = torch.autograd.grad(scores[0, target], x)
        norm = gradient.norm()
        if norm == 0:  # no step leads on
            return steps, False
        x = x + FOOLING_STEP * gradient / norm
        steps += 1


def _fool_batch(
    model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor, max_steps: int
) -> tuple[torch.Tensor, torch.Tensor]:
    steps = torch.full_like(targets, max_steps)
    fooled = torch.zeros_like(targets, dtype=torch.bool)
    x, index = images, torch.arange(len(images))
    for step in range(max_steps + 1):
        x = x.detach().requires_grad_()
        scores = model(x)
        hit = scores.argmax(1) == targets[index]
        steps[index[hit]], fooled[index[hit]] = step, True
        if hit.all() or step == max_steps:
            break
        (gradient,) = torch.autograd.grad(scores.gather(1, targets[index][:, None]).sum(), x)
        norm = gradient.flatten(1).norm(dim=1)
        stalled = (norm == 0) & ~hit
        steps[index[stalled]] = step
        going = ~hit & ~stalled
        if not going.any():
            break
        x = x.detach()[going] + FOOLING_STEP * gradient[going] / norm[going][:, None, None, None]
        index = index[going]
    return steps, fooled
