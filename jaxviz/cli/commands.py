"""The commands.

Each command imports its own dependencies, so that `--help` does not wait for Flax and matplotlib.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from jaxviz._core.files import replacing
from jaxviz.cli import console, records
from jaxviz.cli.batch import BatchCommand, batch
from jaxviz.cli.layers import cam, layers
from jaxviz.cli.options import (
    Images,
    Json,
    Label,
    MapName,
    MethodName,
    ModelName,
    ModelOption,
    Output,
    ParametrizationName,
    Resize,
    Seed,
    Weights,
    configure,
    find,
    load,
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


@app.callback()
def _about() -> None:
    """Saliency maps, fooling images and class visualizations of image classifiers."""


@app.command()
def predict(
    images: Images,
    top: Annotated[int, typer.Option(min=1, max=1000, help="Number of classes.")] = 5,
    resize: Resize = 256,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Print the most probable classes of each photograph."""
    from jaxviz.cli import jobs

    network = load(model, weights)
    found = records.run(jobs.predict(network, images, top=top, resize=resize))
    rows = [
        (
            Path(record["file"]).name if place == 0 else "",
            prediction["name"],
            prediction["index"],
            records.percent(prediction),
        )
        for record in found
        for place, prediction in enumerate(record.get("classes", []))
    ]
    console.report(found, as_json=as_json, columns=("image", "class", "index", "probability"), rows=rows)


@app.command()
def saliency(
    images: Images,
    method: Annotated[
        MapName,
        typer.Option(help="What a pixel's importance is: its gradient, a variant of it, or the effect of masks."),
    ] = MapName.gradient,
    label: Label = None,
    resize: Resize = 256,
    output: Output = Path("jaxviz-output"),
    seed: Seed = 0,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Write the saliency map of each photograph: STEM-saliency.png."""
    from jaxviz.cli import jobs
    from jaxviz.cli.attribution import method_of

    index = None if label is None else find(label)
    network, output = load(model, weights), console.folder(output)
    work = jobs.saliency(
        network, images, output, method=method_of(method, seed=seed), name=method.value, label=index, resize=resize
    )
    records.report(records.run(work), as_json)


@app.command()
def fool(
    images: Images,
    target: Annotated[str, typer.Option(help="Target class, by name or number.")],
    resize: Resize = 256,
    output: Output = Path("jaxviz-output"),
    step_size: Annotated[float, typer.Option(help="Euclidean length of a step, in normalized input space.")] = 0.5,
    max_steps: Annotated[int, typer.Option(help="Maximum number of steps per image.")] = 100,
    confidence: Annotated[float | None, typer.Option(help="Minimum probability of the target, 0 to 1.")] = None,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Change photographs until the model predicts the target: writes STEM-fooled.png and STEM-fooling.png."""
    from jaxviz.cli import jobs

    index = find(target)
    options = {"step_size": step_size, "max_steps": max_steps, "confidence": confidence, "resize": resize}
    network, output = load(model, weights), console.folder(output)
    records.report(records.run(jobs.fool(network, images, output, target=index, **options)), as_json)


@app.command()
def visualize(
    classes: Annotated[
        list[str] | None, typer.Argument(metavar="[CLASS...]", help="Classes, by name or number.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer, as `jaxviz layers` names it: visualize its channels instead of classes.")
    ] = None,
    channel: Annotated[list[int] | None, typer.Option(help="Channel of the layer; repeatable.")] = None,
    parametrization: Annotated[
        ParametrizationName,
        typer.Option(
            help="What a step changes: pixels; or, by Adam, the Fourier spectrum or its phase, where --step-size, "
            "--l2-weight and the blur have no effect."
        ),
    ] = ParametrizationName.pixels,
    init_image: Annotated[Path | None, typer.Option(help="Photograph to start from, instead of noise.")] = None,
    output: Output = Path("jaxviz-output"),
    size: Annotated[int, typer.Option(min=32, help="Side of the image, in pixels.")] = 224,
    num_steps: Annotated[int, typer.Option(help="Number of steps.")] = 200,
    step_size: Annotated[float, typer.Option(help="Factor of the gradient in each step.")] = 5.0,
    l2_weight: Annotated[float, typer.Option(help="Weight of the image's Euclidean norm.")] = 1e-3,
    max_jitter: Annotated[int, typer.Option(help="Largest random translation, in pixels.")] = 16,
    blur_every: Annotated[int, typer.Option(help="Number of steps between blurs.")] = 10,
    blur_sigma: Annotated[float, typer.Option(help="Standard deviation of the blur, in pixels.")] = 0.5,
    seed: Seed = 0,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Generate an image with a high score of a class or a channel: writes visualize-CLASS.png or -LAYER-CHANNEL.png."""
    from jaxviz.cli import visualization

    if bool(classes) == bool(channel) or bool(channel) != bool(layer):
        raise ValueError("give classes, or a layer and its channels: `jaxviz visualize --layer fire5 --channel 12`.")
    indices = channel or [find(text) for text in classes or []]
    options = {
        "size": size,
        "num_steps": num_steps,
        "step_size": step_size,
        "l2_weight": l2_weight,
        "max_jitter": max_jitter,
        "blur_every": blur_every,
        "blur_sigma": blur_sigma,
        "parametrization": parametrization.value,
        "layer": layer,
    }
    network, output = load(model, weights), console.folder(output)
    work = visualization.visualize(network, indices, output, seed=seed, init_image=init_image, **options)
    records.report(records.run(work), as_json)


@app.command()
def demo(
    output: Output = Path("jaxviz-demo"),
    seed: Seed = 0,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Apply all three methods to two sample photographs: figures, a table and results.json."""
    from jaxviz.cli import jobs, visualization

    network, output = load(model, weights), console.folder(output)
    photos = _sample_photographs()
    found = records.run(
        [
            *jobs.saliency(network, photos, output),
            *jobs.fool(network, photos, output, target=find("stingray")),
            *visualization.visualize(network, [find("tarantula")], output, seed=seed),
            *visualization.visualize(network, [find("goldfish")], output, seed=seed, init_image=photos[0]),
        ]
    )
    with replacing(output / "results.json") as temporary:
        temporary.write_text(json.dumps({"model": model, "weights": weights, "seed": seed, "records": found}, indent=2))
    records.report(found, as_json)


@app.command()
def export(
    method: Annotated[MethodName, typer.Argument(help="The method.")],
    output: Annotated[Path, typer.Option(metavar="FILE", help="The file (.npz); replaced if it exists.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the images, in pixels.")] = 224,
    lanes: Annotated[
        int | None, typer.Option(help="fool: images in flight; by default, what suits the platform.")
    ] = None,
    levels: Annotated[
        bool | None, typer.Option("--levels/--no-levels", help="fool: whether to round to 8-bit levels.")
    ] = None,
    num_steps: Annotated[int | None, typer.Option(help="visualize: number of steps; 200 by default.")] = None,
    init_images: Annotated[
        bool | None, typer.Option("--init-images/--noise", help="visualize: start from given images, or from noise.")
    ] = None,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
) -> None:
    """Write a method and a network to one file that runs with JAX alone, on CPU, CUDA and TPU; print a script for it.

    The program takes the weights, any number of images, and the method's settings.
    """
    from jaxviz.cli.export import script, write

    options = {"lanes": lanes, "levels": levels, "num_steps": num_steps, "init_images": init_images}
    given = {name: value for name, value in options.items() if value is not None}
    configure()
    about = write(output, method, model, weights=weights, size=size, **given)
    print(script(output, about))


@app.command()
def report(
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE...", help="Photographs; by default, two samples.")
    ] = None,
    output: Output = Path("jaxviz-report"),
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=WEIGHTS]",
            help="A network, optionally with weights: vgg16, or squeezenet1_1=FILE. Repeat to compare networks.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Target class for every photograph; repeat for several. By default, each photograph has its own three."
        ),
    ] = None,
    visualize: Annotated[
        list[str] | None, typer.Option(metavar="CLASS", help="Class to visualize from noise; by default, tarantula.")
    ] = None,
    from_photograph: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS", help="Class to visualize from the first photograph; by default, snail."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="True class of a photograph; repeat for each, in order. By default, the prediction."),
    ] = None,
    resize: Resize = 256,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer samples, iterations and settings, for a first look.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a page with saliency, fooling and class visualization, with measurements: index.html."""
    from jaxviz import report

    configure()
    networks = report.load(model or ["squeezenet1_1"])
    with console.bars() as progress:
        record = report.write(
            networks,
            images or _sample_photographs(),
            output,
            classes=[find(text) for text in label or []],
            targets=[find(text) for text in target or []],
            from_noise=[find(text) for text in visualize or ["tarantula"]],
            from_photograph=[find(text) for text in from_photograph or ["snail"]],
            seed=seed,
            resize=resize,
            quick=quick,
            progress=progress,
        )
    console.report_written(record, output / "index.html", as_json=as_json)


for command in (cam, layers):
    app.command()(command)
app.command(cls=BatchCommand)(batch)


def _sample_photographs() -> list[Path]:
    return [Path(str(resources.files("skimage.data") / name)) for name in ("chelsea.png", "coffee.png")]
