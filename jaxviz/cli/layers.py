"""The commands `layers` and `cam`."""

from pathlib import Path
from typing import Annotated

import typer

from jaxviz.cli import console, records
from jaxviz.cli.options import (
    Images,
    Json,
    Label,
    ModelName,
    ModelOption,
    Output,
    Resize,
    VariantName,
    Weights,
    find,
    load,
)


def layers(
    size: Annotated[int, typer.Option(min=32, help="Side of the images, in pixels.")] = 224,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Print the names and shapes of the network's layers, for `cam --layer` and `visualize --layer`."""
    import jax
    import jax.numpy as jnp

    from jaxviz import layers as layers_of

    network = load(model, weights)
    named = layers_of(network, jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
    found = [{"name": layer.name, "shape": list(layer.shape[1:])} for layer in named]
    rows = [(record["name"], " x ".join(map(str, record["shape"]))) for record in found]
    console.report(found, as_json=as_json, columns=("layer", "shape for one image"), rows=rows)


def cam(
    images: Images,
    layer: Annotated[
        str | None, typer.Option(help="Layer, as `jaxviz layers` names it; by default, the last before the classes.")
    ] = None,
    variant: Annotated[VariantName, typer.Option(help="Weights of the channels.")] = VariantName.grad_cam,
    label: Label = None,
    resize: Resize = 256,
    output: Output = Path("jaxviz-output"),
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Write the class activation map of each photograph (Grad-CAM): STEM-cam.png."""
    from jaxviz.cli import jobs
    from jaxviz.cli.attribution import cam_of
    from jaxviz.models import LAST_MAPS

    index = None if label is None else find(label)
    network, output = load(model, weights), console.folder(output)
    layer = layer or LAST_MAPS[model]
    method = cam_of(layer, variant=variant.value)
    about = {"layer": layer, "variant": variant.value}
    work = jobs.cam(network, images, output, method=method, about=about, label=index, resize=resize)
    records.report(records.run(work), as_json)
