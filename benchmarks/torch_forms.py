"""The methods in PyTorch by hand, in captum and in torchattacks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import torchvision.models
from scipy.ndimage import gaussian_filter1d
from torchvision import transforms

from benchmarks.worker import cores
from benchmarks.workloads import Prepared, Workload

Arrays = dict[str, np.ndarray]
# The defaults of jaxviz
_FOOLING_STEP, _VISUALIZATION_STEP = 0.5, 5.0
_L2_WEIGHT, _BLUR_EVERY, _BLUR_SIGMA = 1e-3, 10, 0.5
# As in jaxviz.images, without its imports
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
_MEAN, _STD = (torch.tensor(v, device=_DEVICE)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
_BOUNDS = (0 - _MEAN) / _STD, (1 - _MEAN) / _STD
_ATTACK_BATCH = 32


def saliency(workload: Workload, arrays: Arrays, folder: Path, *, layout: str, captum: bool = False) -> Prepared:
    """The whole batch at once, as PyTorch users do; by hand or by captum."""
    model = network(workload, folder, layout)
    images, labels = tensors(workload, arrays, layout)

    def gradients() -> torch.Tensor:
        x = images.detach().requires_grad_()
        return torch.autograd.grad(_scores_of(model, x, labels).sum(), x)[0].abs()

    if captum:
        from captum.attr import Saliency

        explainer = Saliency(model)
        gradients = lambda: explainer.attribute(images.detach().requires_grad_(), target=labels)  # noqa: E731
    run = lambda: gradients().amax(1)  # noqa: E731
    if layout == "CUDA graph":
        run = _graph(run)
    return prepared(run, lambda maps: {"maps": maps.float().cpu().numpy()})


def fooling(workload: Workload, arrays: Arrays, folder: Path, *, layout: str, batch_size: int) -> Prepared:
    """Batches from which finished images are dropped; a batch of one is the practical's own loop."""
    model = network(workload, folder, layout)
    images, targets = tensors(workload, arrays, layout)

    def run() -> list[torch.Tensor]:
        batches = zip(images.split(batch_size), targets.split(batch_size), strict=True)
        return [_fool(model, x, t, workload.steps) for x, t in batches]

    def arrays_of(results: list[torch.Tensor]) -> Arrays:
        steps, fooled = torch.cat(results, dim=1).cpu().numpy()
        return {"steps": steps, "fooled": fooled.astype(bool)}

    return prepared(run, arrays_of)


def torchattacks_pgd(workload: Workload, arrays: Arrays, folder: Path) -> Prepared:
    """L2 PGD, which has no stop: every image takes every step.

    The step size is the same on average over the channels, and the whole perturbation has no bound. The layout is
    contiguous: the library takes views of gradients that another layout does not allow.
    """
    import torchattacks

    classifier = network(workload, folder, "contiguous")
    images, targets = tensors(workload, arrays, "contiguous")
    pixels = (images * _STD + _MEAN).clamp(0, 1)
    model = torch.nn.Sequential(transforms.Normalize(_MEAN.flatten(), _STD.flatten()), classifier).eval()
    step_size = _FOOLING_STEP * float(_STD.mean())
    attack = torchattacks.PGDL2(model, eps=1e6, alpha=step_size, steps=workload.steps, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)

    def run() -> torch.Tensor:
        batches = zip(pixels.split(_ATTACK_BATCH), targets.split(_ATTACK_BATCH), strict=True)
        return torch.cat([attack(x, t) for x, t in batches])

    def arrays_of(adversarial: torch.Tensor) -> Arrays:
        with torch.no_grad():
            classes = torch.cat([model(x).argmax(1) for x in adversarial.split(_ATTACK_BATCH)])
        return {"steps": np.full(len(targets), workload.steps), "fooled": (classes == targets).cpu().numpy()}

    return prepared(run, arrays_of)


def visualization(workload: Workload, arrays: Arrays, folder: Path, *, layout: str, batch_size: int) -> Prepared:
    """One class at a time, or all in a batch; from the noise that jaxviz starts from, shifted by the same offsets."""
    model = network(workload, folder, layout)
    images, targets = tensors(workload, arrays, layout)
    offsets = torch.from_numpy(arrays["offsets"])

    def run() -> list[torch.Tensor]:
        parts = (tensor.split(batch_size) for tensor in (images, targets, offsets))
        return [_visualize(model, *part) for part in zip(*parts, strict=True)]

    return prepared(run, lambda scores: {"scores": torch.cat(scores).cpu().numpy()})


def network(workload: Workload, folder: Path, layout: str) -> torch.nn.Module:
    """The frozen network, "contiguous", "channels_last", "torch.compile" or "CUDA graph" (in channels_last)."""
    torch.set_num_threads(cores())
    torch.backends.cudnn.allow_tf32 = workload.precision == "tf32"  # of convolutions; on by default
    torch.set_float32_matmul_precision("high" if workload.precision == "tf32" else "highest")
    with torch.device("meta"):  # no random weights first
        model = torchvision.models.get_model(workload.network)
    state = safetensors.torch.load_file(folder / f"{workload.network}-torchvision.safetensors", device=_DEVICE)
    model.load_state_dict(state, assign=True)
    model.eval().requires_grad_(False).to(_dtype(workload))
    if layout in ("channels_last", "CUDA graph"):
        return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if layout == "torch.compile":
        return torch.compile(model)  # pyright: ignore[reportReturnType]
    return model


def tensors(workload: Workload, arrays: Arrays, layout: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images as (n, c, h, w) in the layout's memory order, and labels."""
    order = torch.channels_last if layout in ("channels_last", "CUDA graph") else torch.contiguous_format
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2).contiguous(memory_format=order)
    return images.to(_DEVICE, _dtype(workload)), torch.from_numpy(arrays["labels"]).to(_DEVICE)


def _dtype(workload: Workload) -> torch.dtype:
    return torch.bfloat16 if workload.precision == "bfloat16" else torch.float32


def prepared(run: Callable[[], Any], arrays: Callable[[Any], Arrays]) -> Prepared:
    """The work, which returns when it is done on a GPU too."""
    if _DEVICE == "cpu":
        return Prepared(run, arrays)

    def finished() -> Any:
        result = run()
        torch.cuda.synchronize()
        return result

    return Prepared(finished, arrays, torch.cuda.max_memory_allocated)


def _graph(run: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """The same work, recorded once and replayed without Python."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


def _scores_of(model: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(n,), the score of each image's own class."""
    return model(x).gather(1, labels[:, None])[:, 0]


def _fool(model: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor, max_steps: int) -> torch.Tensor:
    """The steps of each image and whether it is fooled, (2, n)."""
    steps, fooled = torch.full_like(targets, max_steps), torch.zeros_like(targets)
    x, index = images, torch.arange(len(images), device=images.device)
    for step in range(max_steps + 1):
        x = x.detach().requires_grad_()
        scores = model(x)
        hit = scores.argmax(1) == targets[index]
        steps[index[hit]], fooled[index[hit]] = step, 1
        if hit.all() or step == max_steps:
            break
        (gradient,) = torch.autograd.grad(scores.gather(1, targets[index][:, None]).sum(), x)
        norm = gradient.flatten(1).norm(dim=1)
        steps[index[(norm == 0) & ~hit]] = step  # stalled
        active = (norm > 0) & ~hit
        if not active.any():
            break
        x = x.detach()[active] + _FOOLING_STEP * gradient[active] / norm[active][:, None, None, None]
        index = index[active]
    return torch.stack([steps, fooled])


def _visualize(model: torch.nn.Module, x: torch.Tensor, targets: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """The score of each image at each step, (n, steps)."""
    history = []
    for step, offset in enumerate(offsets.unbind(1)):
        x = _shifted(x, offset).requires_grad_()
        scores = _scores_of(model, x, targets)
        history.append(scores.detach())
        norms = x.flatten(1).norm(dim=1)
        (gradient,) = torch.autograd.grad((scores - _L2_WEIGHT * norms).sum(), x)
        x = _shifted(x.detach() + _VISUALIZATION_STEP * gradient, -offset)
        x = x.clamp(*_BOUNDS)
        if step % _BLUR_EVERY == 0:
            x = _blurred(x)
    return torch.stack(history, dim=1)


def _shifted(x: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    return torch.stack([image.roll(tuple(offset.tolist()), (1, 2)) for image, offset in zip(x, offsets, strict=True)])


def _blurred(x: torch.Tensor) -> torch.Tensor:
    """As the practical does it, which takes half of the time of two grouped convolutions."""
    rows = gaussian_filter1d(x.cpu().numpy(), _BLUR_SIGMA, axis=2)
    return torch.from_numpy(gaussian_filter1d(rows, _BLUR_SIGMA, axis=3)).to(_DEVICE)
