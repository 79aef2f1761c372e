"""Options that the commands share, and the setup of devices and model.

Slow imports are inside the functions, so that `--help` does not wait for them.
"""

import contextlib
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jaxviz._core.model import Model


class ModelName(StrEnum):
    """The networks of `load_model`."""

    squeezenet1_0 = "squeezenet1_0"
    squeezenet1_1 = "squeezenet1_1"
    vgg16 = "vgg16"


class MethodName(StrEnum):
    """The methods, named as their commands."""

    saliency = "saliency"
    fool = "fool"
    visualize = "visualize"


class ParametrizationName(StrEnum):
    """What a step of `jaxviz visualize` changes."""

    pixels = "pixels"
    fourier = "fourier"
    maco = "maco"


class MapName(StrEnum):
    """The methods of `jaxviz saliency`."""

    gradient = "gradient"
    smooth = "smooth"
    integrated = "integrated"
    guided = "guided"
    occlusion = "occlusion"
    rise = "rise"


class VariantName(StrEnum):
    """The variants of `jaxviz cam`."""

    grad_cam = "grad_cam"
    grad_cam_plus_plus = "grad_cam++"
    hires_cam = "hires_cam"
    layer_cam = "layer_cam"


Images = Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photographs, in any format that Pillow reads.")]
ModelOption = Annotated[ModelName, typer.Option("--model", help="The network.")]
Weights = Annotated[
    str | None,
    typer.Option(help='"caffe", "torchvision", or a .safetensors or .pth file; the default depends on the network.'),
]
Label = Annotated[str | None, typer.Option(help="Class, by name or number; by default, the prediction.")]
Resize = Annotated[
    int,
    typer.Option(
        min=224,
        help="Length of the shorter side, in pixels, before the 224 x 224 centre crop; 224 keeps an image of that "
        "size, such as a fooling image, unchanged.",
    ),
]
Output = Annotated[Path, typer.Option(help="Folder for the files; created if it does not exist.")]
Json = Annotated[bool, typer.Option("--json", help="Print the records as JSON instead of a table.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the noise and the jitter.")]


def find(text: str) -> int:
    """The class index of a name or a number."""
    from jaxviz import labels

    return labels.find(text)


def load(model: ModelName, weights: str | None) -> "Model":
    """Sets up the devices and loads the network."""
    import jaxviz

    configure()
    return jaxviz.load_model(model, weights=weights)


def configure() -> None:
    """Makes each core a device and keeps compiled programs, unless the user's environment sets these options."""
    import jax

    from jaxviz.weights import cache_folder

    config: Any = jax.config  # its attributes are created at run time
    if config.jax_num_cpu_devices < 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        config.update("jax_num_cpu_devices", cores)
    if config.jax_compilation_cache_dir is None:
        folder = cache_folder() / "compiled"
        with contextlib.suppress(OSError):  # continue without the cache
            folder.mkdir(parents=True, exist_ok=True)
            config.update("jax_compilation_cache_dir", str(folder))
            config.update("jax_persistent_cache_min_compile_time_secs", 0)
