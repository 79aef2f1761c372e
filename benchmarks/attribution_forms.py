"""Grad-CAM, guided backpropagation, occlusion and RISE in captum, in pytorch-grad-cam and in PyTorch by hand."""

from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.torch_forms import Arrays, network, prepared, tensors
from benchmarks.workloads import OCCLUSION, RISE, Prepared, Workload, scaled

_MASKS = 50  # of an image at once


def grad_cam(workload: Workload, arrays: Arrays, folder: Path, *, layout: str, library: str) -> Prepared:
    """Of fire9, the layer before the classes; its weights alone take gradients, so that no more is differentiated."""
    model, images, labels = _subject(workload, arrays, folder, layout)
    layer = model.get_submodule("features.12")
    if library == "captum":
        from captum.attr import LayerGradCam

        explainer = LayerGradCam(model, layer)
        run = lambda: explainer.attribute(images, labels, relu_attributions=True)  # noqa: E731
        return prepared(run, lambda maps: {"maps": scaled(maps.detach()[:, 0].numpy(), workload.size)})
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer.requires_grad_()
    cam: Any = GradCAM(model, [layer])
    targets = [ClassifierOutputTarget(label) for label in labels.tolist()]
    return prepared(lambda: cam(images, targets), lambda maps: {"maps": maps})


def guided(workload: Workload, arrays: Arrays, folder: Path, *, layout: str) -> Prepared:
    """captum's, the largest of the channels."""
    from captum.attr import GuidedBackprop

    model, images, labels = _subject(workload, arrays, folder, layout)
    explainer = GuidedBackprop(model)
    run = lambda: explainer.attribute(images.detach().requires_grad_(), labels).abs().amax(1)  # noqa: E731
    return prepared(run, lambda maps: {"maps": maps.detach().numpy()})


def occlusion(workload: Workload, arrays: Arrays, folder: Path, *, layout: str) -> Prepared:
    """captum's, which gives each pixel the mean of its windows; the whole batch for each window."""
    from captum.attr import Occlusion

    model, images, labels = _subject(workload, arrays, folder, layout)
    explainer, (window, stride) = Occlusion(model), OCCLUSION
    run = lambda: explainer.attribute(images, (3, window, window), (3, stride, stride), target=labels)  # noqa: E731
    return prepared(run, lambda maps: {"maps": maps[:, 0].numpy()})


def rise(workload: Workload, arrays: Arrays, folder: Path, *, layout: str) -> Prepared:
    """By hand, with the masks of jaxviz."""
    model, images, labels = _subject(workload, arrays, folder, layout)
    cells, offsets = torch.from_numpy(arrays["cells"]).float(), arrays["offsets"]
    cell, keep = RISE
    side = (cells.shape[-1] + 1) * cell

    def masks(cells: torch.Tensor, offsets: Any) -> torch.Tensor:
        enlarged = functional.interpolate(cells[:, None], (side, side), mode="bilinear")
        rows = [m[:, y : y + workload.size, x : x + workload.size] for m, (y, x) in zip(enlarged, offsets, strict=True)]
        return torch.stack(rows)

    @torch.no_grad()
    def run() -> torch.Tensor:
        maps = torch.zeros(len(images), workload.size, workload.size)
        for i in range(len(images)):
            for start in range(0, workload.steps, _MASKS):
                mask = masks(cells[i, start : start + _MASKS], offsets[i, start : start + _MASKS])
                probabilities = model(images[i] * mask).softmax(1)[:, labels[i]]
                maps[i] += torch.einsum("m,mhw->hw", probabilities, mask[:, 0])
        return maps / (workload.steps * keep)

    return prepared(run, lambda maps: {"maps": maps.numpy()})


def _subject(
    workload: Workload, arrays: Arrays, folder: Path, layout: str
) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    model: Any = network(workload, folder, layout)
    for module in model.modules():
        if hasattr(module, "inplace"):  # captum needs the values before the ReLU
            module.inplace = False
    images, labels = tensors(workload, arrays, layout)
    return model, images, labels
