"""torchvision's networks in the layouts that a PyTorch user may choose."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision.models

from benchmarks.machine import cores
from benchmarks.workloads import Workload


def network(workload: Workload, folder: Path, layout: str) -> torch.nn.Module:
    """The frozen network, "contiguous", "channels_last" or "torch.compile"; all cores, float32 throughout."""
    torch.set_num_threads(cores())
    torch.set_float32_matmul_precision("highest")
    with torch.device("meta"):  # no random weights first
        model = torchvision.models.get_model(workload.network)
    state = safetensors.torch.load_file(folder / f"{workload.network}-torchvision.safetensors")
    model.load_state_dict(state, assign=True)
    model.eval().requires_grad_(False)
    if layout == "channels_last":
        return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if layout == "torch.compile":
        return torch.compile(model)  # pyright: ignore[reportReturnType]
    return model


def tensors(arrays: dict[str, np.ndarray], layout: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as (n, c, h, w) in the layout's memory order, and labels."""
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous(memory_format=order)
    return images, torch.from_numpy(arrays["labels"])


def scores_of(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(n,), the score of each image's own class."""
    return model(x).gather(1, labels[:, None])[:, 0]
