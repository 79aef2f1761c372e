"""The work that is timed and the forms in which it is written. Imports no framework: a worker loads its own alone."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

SEED = 0
OCCLUSION = 64, 32  # window and stride
RISE = 28, 0.5  # side of a cell, and its probability to be visible


class Workload(NamedTuple):
    """`examples` images of `size` pixels squared, at most `steps` updates each, timed at most `repeats` times."""

    name: str
    method: Literal["saliency", "fooling", "visualization", "grad_cam", "guided", "occlusion", "rise"]
    repeats: int
    examples: int
    network: Literal["squeezenet1_1", "vgg16", "resnet50"] = "squeezenet1_1"
    size: int = 224
    steps: int = 1
    compiled: bool = False  # torch.compile too, which takes a minute or two to compile
    device: Literal["cpu", "gpu"] = "cpu"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"


FULL = (
    Workload("saliency, 1 image", "saliency", 15, 1, compiled=True),
    Workload("saliency, 8 images", "saliency", 11, 8),
    Workload("saliency, 32 images", "saliency", 9, 32, compiled=True),
    Workload("saliency, 128 images", "saliency", 5, 128),
    Workload("saliency, 8 images of 320 pixels", "saliency", 7, 8, size=320),
    Workload("saliency, 8 images of 448 pixels", "saliency", 7, 8, size=448),
    Workload("VGG16 saliency, 8 images", "saliency", 5, 8, network="vgg16"),
    Workload("ResNet-50 saliency, 8 images", "saliency", 5, 8, network="resnet50"),
    Workload("Grad-CAM, 32 images", "grad_cam", 7, 32),
    Workload("guided backpropagation, 32 images", "guided", 7, 32),
    Workload("occlusion, 32 images, 36 windows", "occlusion", 3, 32, steps=36),
    Workload("RISE, 4 images, 1000 masks", "rise", 3, 4, steps=1000),
    Workload("fooling, 64 images", "fooling", 3, 64, steps=100),
    Workload("class visualization, 1 class, 200 steps", "visualization", 5, 1, steps=200),
    Workload("class visualization, 8 classes, 200 steps", "visualization", 3, 8, steps=200),
    Workload("VGG16 class visualization, 1 class, 50 steps", "visualization", 3, 1, network="vgg16", steps=50),
)
GPU = (
    *(
        Workload(f"saliency, {size}, {precision}", "saliency", 3, count, device="gpu", precision=precision)
        for count, size in ((32, "32 images"), (256, "256 images"), (1, "1 image"), (1024, "1024 images"))
        for precision in ("float32", "tf32", "bfloat16")
    ),
    Workload("fooling, 256 images, float32", "fooling", 3, 256, steps=100, device="gpu"),
    Workload("class visualization, 8 classes, 200 steps, float32", "visualization", 3, 8, steps=200, device="gpu"),
    Workload("VGG16 saliency, 32 images, tf32", "saliency", 3, 32, network="vgg16", device="gpu", precision="tf32"),
    Workload("saliency, 256 images, float32, compiled", "saliency", 3, 256, compiled=True, device="gpu"),
)
QUICK = (
    Workload("saliency, 1 image", "saliency", 5, 1),
    Workload("saliency, 8 images", "saliency", 5, 8),
    Workload("fooling, 8 images", "fooling", 2, 8, steps=100),
    Workload("class visualization, 1 class, 20 steps", "visualization", 3, 1, steps=20),
)


def scaled(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps as pytorch-grad-cam returns them: resized, each from 0 to 1."""
    import cv2

    resized = np.stack([cv2.resize(values, (size, size)) for values in maps])
    resized -= resized.min((1, 2), keepdims=True)
    return resized / np.maximum(resized.max((1, 2), keepdims=True), 1e-7)


class Prepared(NamedTuple):
    """`run` is timed and returns when the work is done; `arrays`, which is not, makes of it what is compared.

    `peak_bytes` is the highest use of the accelerator's memory; None on a CPU.
    """

    run: Callable[[], Any]
    arrays: Callable[[Any], dict[str, np.ndarray]]
    peak_bytes: Callable[[], int] | None = None


class Form(NamedTuple):
    """One way to do a method's work: `module.function(workload, arrays, folder, **options)` of this package."""

    name: str
    family: Literal["jaxviz", "jax", "pytorch", "library"]
    function: str
    options: dict[str, Any]

    @property
    def compiles(self) -> bool:
        """By torch.compile: without a C++ compiler the form is unavailable, which is no failure."""
        return self.options.get("layout") == "torch.compile"


def _torch(function: str, name: str, *layouts: str, **options: Any) -> list[Form]:
    layouts = layouts or ("contiguous", "channels_last")
    return [Form(f"{name}, {layout}", "pytorch", function, {"layout": layout, **options}) for layout in layouts]


_JAXVIZ = [
    Form("jaxviz", "jaxviz", "jax_forms.prepare", {}),
    Form("jaxviz, data_parallel", "jaxviz", "jax_forms.prepare", {"data_parallel": True}),
]


def forms_of(workload: Workload) -> list[Form]:
    """The forms of a workload; the first, PyTorch as it comes, is the reference of the results of the others."""
    gpu = workload.device == "gpu"
    if workload.method == "saliency":
        forms = [
            *_torch("torch_forms.saliency", "PyTorch"),
            *(_torch("torch_forms.saliency", "PyTorch", "CUDA graph") if gpu else []),
            *(_torch("torch_forms.saliency", "PyTorch", "torch.compile") if workload.compiled else []),
            Form("captum, Saliency", "library", "torch_forms.saliency", {"layout": "contiguous", "captum": True}),
            Form("JAX, plain", "jax", "jax_forms.prepare", {"plain": True}),
        ]
    elif workload.method == "grad_cam":
        function = "attribution_forms.grad_cam"
        forms = [
            *_torch(function, "captum", library="captum"),
            *_torch(function, "pytorch-grad-cam", library="pytorch-grad-cam"),
        ]
    elif workload.method in ("guided", "occlusion", "rise"):
        forms = _torch(f"attribution_forms.{workload.method}", "PyTorch" if workload.method == "rise" else "captum")
    elif workload.method == "fooling":
        forms = [
            *([] if gpu else _torch("torch_forms.fooling", "PyTorch, one by one", batch_size=1)),
            *_torch("torch_forms.fooling", "PyTorch, batch without the finished", batch_size=128 if gpu else 32),
            Form("torchattacks, PGDL2", "library", "torch_forms.torchattacks_pgd", {}),
        ]
    else:
        forms = [] if gpu else _torch("torch_forms.visualization", "PyTorch", batch_size=1)
        if workload.examples > 1:
            forms += _torch("torch_forms.visualization", "PyTorch, one batch", batch_size=workload.examples)
    return [*forms[:1], *_JAXVIZ[: 1 if gpu else 2], *forms[1:]]
