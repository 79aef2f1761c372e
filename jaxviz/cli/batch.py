"""The command `jaxviz batch`."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jaxviz.cli import console
from jaxviz.cli.options import Json, MethodName, ModelName, ModelOption, Output, Resize, Weights, find, load

if TYPE_CHECKING:
    from jaxviz.batch.methods import Method
    from jaxviz.batch.work import Part, Work

# Items per device and batch. A CPU computes them one by one: enough items that the time between batches is negligible.
# An accelerator computes all of them at once.
_CPU_BATCH, _ACCELERATOR_BATCH = 16, 64
_SIDE = 224
_SECONDS_BETWEEN_LINES = 10.0


# The options of each method; an option of another method is an error.
_OPTIONS = {
    "saliency": ("label",),
    "fool": ("target", "step_size", "max_steps", "confidence"),
    "visualize": (
        "seed", "size", "num_steps", "step_size", "l2_weight", "max_jitter", "blur_every", "blur_sigma",
    ),
}  # fmt: skip


def batch(
    method: Annotated[MethodName, typer.Argument(help="What to compute.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A folder of images; or a list with one file a line, relative to the list's folder, optionally with a "
            "tab and a class; for visualize, a list of classes.",
        ),
    ],
    output: Output = Path("jaxviz-batch"),
    label: Annotated[str | None, typer.Option(help="saliency: the class; by default, the prediction.")] = None,
    target: Annotated[str | None, typer.Option(help="fool: the target class, if the list has none.")] = None,
    step_size: Annotated[float | None, typer.Option(help="fool, visualize: as in these commands.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="fool: maximum number of steps per image.")] = None,
    confidence: Annotated[float | None, typer.Option(help="fool: minimum probability of the target, 0 to 1.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="visualize: seed of the noise and the jitter.")] = None,
    size: Annotated[int | None, typer.Option(min=32, help="visualize: side of the image, in pixels.")] = None,
    num_steps: Annotated[int | None, typer.Option(help="visualize: number of steps.")] = None,
    l2_weight: Annotated[float | None, typer.Option(help="visualize: weight of the Euclidean norm.")] = None,
    max_jitter: Annotated[int | None, typer.Option(help="visualize: largest translation, in pixels.")] = None,
    blur_every: Annotated[int | None, typer.Option(help="visualize: number of steps between blurs.")] = None,
    blur_sigma: Annotated[float | None, typer.Option(help="visualize: sigma of the blur, in pixels.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Items per shard; unfinished shards start again.")] = 256,
    part: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="This process's part, 0/N to N-1/N; by default, JAX's process index."),
    ] = None,
    resize: Resize = 256,
    model: ModelOption = ModelName.squeezenet1_1,
    weights: Weights = None,
    as_json: Json = False,
) -> None:
    """Apply a method to any number of images, in shards. After an interruption, run the same command again."""
    given = {
        "label": label, "target": target, "step_size": step_size, "max_steps": max_steps, "confidence": confidence,
        "seed": seed, "size": size, "num_steps": num_steps, "l2_weight": l2_weight, "max_jitter": max_jitter,
        "blur_every": blur_every, "blur_sigma": blur_sigma,
    }  # fmt: skip
    settings = {name: value for name, value in given.items() if value is not None}
    if wrong := [name for name in settings if name not in _OPTIONS[method]]:
        raise ValueError(f"--{wrong[0].replace('_', '-')} is no option of {method}.")
    try:
        import grain  # noqa: F401
    except ImportError as error:
        raise ImportError('`jaxviz batch` needs the extra `batch`: pip install "jaxviz[batch]"') from error
    import jax

    from jaxviz.batch import items, shards
    from jaxviz.batch.work import Sizes, Work
    from jaxviz.weights import fingerprint

    entries = items.of_classes(source) if method == "visualize" else items.of_images(source)
    entries = _with_class(method, entries, settings, source)
    network = load(model, weights)
    manifest = {
        "method": method,
        "settings": settings,
        "items": len(entries),
        "items_sha256": items.digest(entries),
        "shard_size": shard_size,
        "image_size": settings.get("size", _SIDE),
        "resize": None if method == "visualize" else resize,
        "model": model,
        "weights_sha256": fingerprint(network),
        "versions": _versions(),
    }
    store = shards.Shards(output, manifest)
    devices = jax.local_devices()
    per_device = 1 if method == "visualize" else _CPU_BATCH if devices[0].platform == "cpu" else _ACCELERATOR_BATCH
    size = min(per_device * len(devices), shard_size)
    if method == "fool":  # equal parts: padding of the batch ends at once, but `data_parallel`'s own padding does not
        size += -size % len(devices)
    sizes = Sizes(shard_size, size, _SIDE, resize)
    work = Work(store, entries, items.root(source), part=_part(part), sizes=sizes)
    start = time.perf_counter()
    todo = sum(len(work.places(number)) for number in work.pending)
    with _progress(f"{method} {source.name}", todo) as advance:
        work.run(_method(method, network, settings), advance)
    _summary(work, store, len(entries), todo, time.perf_counter() - start, as_json=as_json)


def _with_class(method: str, entries: list[Any], settings: dict[str, Any], source: Path) -> list[Any]:
    """The items, with the class of the command line if it is given."""
    name = "label" if method == "saliency" else "target"
    text = settings.get(name)
    if text is not None:
        if entries[0].class_index is not None:
            raise ValueError(f"{source} has classes of its own; remove --{name}.")
        index = settings[name] = find(text)
        return [item._replace(class_index=index) for item in entries]
    if method == "fool" and entries[0].class_index is None:
        raise ValueError("fool needs --target, or a list with a tab and a class after each file.")
    return entries


def _method(method: str, network: Any, settings: dict[str, Any]) -> "Method":
    from jaxviz.batch import methods

    network = methods.placed(network)
    options = {name: value for name, value in settings.items() if name not in ("label", "target")}
    if method == "saliency":
        return methods.saliency(network)
    if method == "fool":
        return methods.fool(network, **options)
    return methods.visualize(network, **{"seed": 0, "size": _SIDE, **options})


def _part(text: str | None) -> "Part":
    import jax

    from jaxviz.batch.work import Part

    if text is None:
        return Part(jax.process_index(), jax.process_count())
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise ValueError(f"--part must be I/N with I in 0 to N - 1, such as 0/2, got {text!r}.")
    return Part(int(index), int(count))


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("jaxviz", "jax")}


@contextlib.contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar with images per second; without a terminal, a line every few seconds."""
    console = Console(stderr=True)
    start = last = time.perf_counter()
    done = 0

    def rate() -> str:
        return f"{done / (time.perf_counter() - start):.1f} images/s"

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total, rate="")

        def advance(count: int) -> None:
            nonlocal done, last
            done += count
            progress.update(task, advance=count, rate=rate())
            if not console.is_terminal and time.perf_counter() - last > _SECONDS_BETWEEN_LINES:
                last = time.perf_counter()
                typer.echo(f"{done} of {total}, {rate()}", err=True)

        yield advance


def _summary(work: "Work", store: Any, count: int, done: int, seconds: float, *, as_json: bool) -> None:
    errors = sum(map(store.errors, work.shards))
    summary = {
        "output": str(store.folder),
        "items": count,
        "items_of_this_part": sum(len(work.places(number)) for number in work.shards),
        "done_now": done,
        "errors": errors,
        "seconds": round(seconds, 3),
        "images_per_second": round(done / seconds, 2),
        "seconds_waiting_for": {name: round(work.seconds[name], 3) for name in work.seconds},
    }
    rows = [(name.replace("_", " "), value) for name, value in summary.items() if not isinstance(value, dict)]
    rows += [(f"seconds waiting for {name}", value) for name, value in summary["seconds_waiting_for"].items()]
    console.report([summary], as_json=as_json, columns=("", store.folder.name), rows=rows)
    if errors:
        console.fail(f"{errors} of the items failed; their records in {store.folder} have the errors.")
        raise typer.Exit(1)
