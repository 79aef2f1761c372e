"""The command `jaxviz batch`."""

import contextlib
import importlib
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer.core

from jaxviz.cli import console
from jaxviz.cli.options import Json, MethodName, ModelName, ModelOption, Resize, Weights, configure, find, load

if TYPE_CHECKING:
    from jaxviz.batch.items import Items

_ADDRESS = re.compile(r"auto|local|(ray://)?[^\s/]+:\d+")


# The options of each method; an option of another method is an error.
_OPTIONS = {
    "saliency": ("label",),
    "fool": ("target", "step_size", "max_steps", "confidence"),
    "visualize": (
        "seed", "size", "num_steps", "step_size", "l2_weight", "max_jitter", "blur_every", "blur_sigma",
    ),
}  # fmt: skip


class BatchCommand(typer.core.TyperCommand):
    """The option `--ray`, whose address may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As in typer, with an empty address after a `--ray` that none follows."""
        for at in range(len(args) - 1, -1, -1):
            if args[at] == "--ray" and not _ADDRESS.fullmatch("".join(args[at + 1 : at + 2])):
                args[at : at + 1] = ["--ray", ""]
        return super().parse_args(ctx, args)


def _location(text: Any) -> Any:
    """A path on disk or at a URL."""
    if "://" not in str(text):
        return Path(text)
    _needs("upath", "batch")
    from upath import UPath

    return UPath(text)


def batch(
    method: Annotated[MethodName, typer.Argument(help="What to compute.")],
    source: Annotated[
        Any,
        typer.Argument(
            parser=_location,
            metavar="INPUT",
            help="A folder of images or tar files; or a list with one file a line, relative to the list's folder, "
            "optionally with a tab and a class; for visualize, a list of classes. On disk, or a URL such as "
            "s3://bucket/folder.",
        ),
    ],
    output: Annotated[
        Any, typer.Option(parser=_location, metavar="FOLDER", help="Folder for the shards, on disk or a URL.")
    ] = "jaxviz-batch",
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
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Compute on the Ray cluster at this address, such as 10.0.0.1:6379; without an address, RAY_ADDRESS, "
            "or a new cluster on this machine.",
        ),
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
    _needs("grain", "batch")
    from jaxviz.batch import items, methods
    from jaxviz.batch.shards import Shards
    from jaxviz.batch.work import Sizes, Work, versions
    from jaxviz.weights import fingerprint

    if ray is not None and part is not None:
        raise ValueError("--part is for runs without --ray, which hands out the shards by itself.")
    entries = _entries(method, source, settings)
    base = None if method == "visualize" else items.root(source)
    with _cluster(ray):  # before JAX starts threads: a Ray on this machine is forked
        network = load(model, weights)
        sizes = Sizes(len(entries), shard_size, methods.batch_size(method, shard_size), methods.SIDE, resize)
        store = Shards(output)
        store.claim(
            {
                "method": method,
                "settings": settings,
                "items": len(entries),
                "items_sha256": entries.digest,
                "shard_size": shard_size,
                "image_size": settings.get("size", methods.SIDE),
                "resize": None if method == "visualize" else resize,
                "model": model,
                "weights_sha256": fingerprint(network),
                "versions": versions(),
            }
        )
        numbers, finished = _numbers(part, -(-len(entries) // shard_size)), store.finished()
        pending = [number for number in numbers if number not in finished]
        todo = sum(len(sizes.places(number)) for number in pending)
        start, errors, seconds = time.perf_counter(), 0, Counter()
        with console.rate(f"{method} {source.name}", todo) as advance:
            if ray is None:
                work = Work(store, entries, base, sizes)
                outcomes = [work.run(pending, methods.of_name(method, network, settings), advance)]
            else:
                from jaxviz.batch import on_ray

                folder, base = output.absolute(), base and base.absolute()
                first = [items.location(entries[0], base)] if base else []
                needed = [folder, *(file for file in first if file.exists())]
                job = on_ray.Job(method, settings, sizes, folder, base, needed, versions(), configure)
                outcomes = on_ray.run(job, network, entries, pending, advance)
            for outcome in outcomes:
                errors += outcome.errors
                seconds.update(outcome.seconds)
    with ThreadPoolExecutor() as pool:  # a store takes a while for each
        errors += sum(pool.map(store.errors, finished.intersection(numbers)))
    elapsed = time.perf_counter() - start
    _report(
        {
            "output": str(output),
            "items": len(entries),
            "items_of_this_part": sum(len(sizes.places(number)) for number in numbers),
            "done_now": todo,
            "errors": errors,
            "seconds": round(elapsed, 3),
            "images_per_second": round(todo / elapsed, 2),
            "seconds_waiting_for": {name: round(value, 3) for name, value in seconds.items()},
        },
        as_json=as_json,
    )


def _cluster(address: str | None) -> contextlib.AbstractContextManager[None]:
    if address is None:
        return contextlib.nullcontext()
    _needs("ray", "ray")
    import jax

    from jaxviz.batch import on_ray

    jax.config.update("jax_platforms", "cpu")  # the accelerators are for the actors
    return on_ray.cluster(address)


def _entries(method: str, source: Any, settings: dict[str, Any]) -> "Items":
    """The items; puts the index of the class of the command line, if any, into the settings."""
    from jaxviz.batch import items

    if method == "visualize":
        return items.of_classes(source)
    name = "label" if method == "saliency" else "target"
    if name in settings:
        settings[name] = find(settings[name])
    entries = items.of_images(source, settings.get(name))
    if method == "fool" and entries[0].class_index is None:
        raise ValueError("fool needs --target, or a list with a tab and a class after each file.")
    return entries


def _needs(package: str, extra: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f'`jaxviz batch` needs the extra `{extra}`: pip install "jaxviz[{extra}]"') from error


def _numbers(part: str | None, count: int) -> range:
    """The numbers of the shards of this process."""
    import jax

    if part is None:
        return range(jax.process_index(), count, jax.process_count())
    index, _, parts = part.partition("/")
    if not (index.isdecimal() and parts.isdecimal() and int(index) < int(parts)):
        raise ValueError(f"--part must be I/N with I in 0 to N - 1, such as 0/2, got {part!r}.")
    return range(int(index), count, int(parts))


def _report(summary: dict[str, Any], *, as_json: bool) -> None:
    rows = [(name.replace("_", " "), value) for name, value in summary.items() if not isinstance(value, dict)]
    rows += [(f"seconds waiting for {name}", value) for name, value in summary["seconds_waiting_for"].items()]
    console.report([summary], as_json=as_json, columns=("", summary["output"].rsplit("/", 1)[-1]), rows=rows)
    if summary["errors"]:
        console.fail(f"{summary['errors']} of the items failed; their records in {summary['output']} have the errors.")
        raise typer.Exit(1)
