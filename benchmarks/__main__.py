"""`speed`, `precision` and `tpu` measure, and write a JSON and its page; `readme` writes the README's table."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import jax
import typer

from benchmarks import results, worker
from benchmarks.workloads import FULL, GPU, QUICK

worker.share_gpu()
_ROOT = Path(__file__).parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"
_PHOTOGRAPHS = _ROOT.parent / "shared" / "data" / "imagenet_val_25.npz"
app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Output = Annotated[Path, typer.Option(help="folder of the JSON and the pages")]
Only = Annotated[list[str], typer.Option(help="part of a name; repeatable; other rows of the JSON stay")]


@app.command("speed")
def _speed(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="a few small workloads, in minutes")] = False,
    only: Only = [],  # noqa: B006
    forms: Annotated[list[str], typer.Option(help="part of a form's name; repeatable")] = [],  # noqa: B006
    seconds: Annotated[
        float, typer.Option(help="time of each form, after which it is not repeated; with --quick at most 5")
    ] = 20,
    max_isa: Annotated[str | None, typer.Option(help="instructions of a CPU to keep to on both sides, as AVX2")] = None,
    output: Output = _RESULTS,
) -> None:
    """Time jaxviz beside PyTorch; write speed.json, speed.md and speed.png."""
    from benchmarks import speed

    worker.clean_environment(max_isa)
    gpu = jax.default_backend() == "gpu"
    table = QUICK if quick else GPU if gpu else FULL
    workloads = [workload for workload in table if not only or any(part in workload.name for part in only)]
    if not workloads:
        _stop("--only names no workload; there are", *(workload.name for workload in table))
    file = output / ("speed-gpu.json" if gpu else f"speed-{max_isa.lower()}.json" if max_isa else "speed.json")
    good = speed.run(workloads, file, only_forms=forms, seconds=min(seconds, 5) if quick else seconds, keep=bool(only))
    results.write_page(file, tolerances=speed.TOLERANCES)
    if not gpu:
        results.plot(file.with_suffix(".png"), results.read(file))
    if not good:
        _stop("A form failed, or its results disagree with the reference; see above.")


@app.command("precision")
def _precision(
    *,
    photographs: Annotated[
        Path, typer.Option(help=".npz of X, (n, 224, 224, 3) uint8 RGB, and y, (n,) classes")
    ] = _PHOTOGRAPHS,
    output: Output = _RESULTS,
) -> None:
    """Run the methods in bfloat16 and TF32; write precision.json and precision.md."""
    from benchmarks import precision

    file = output / ("precision-gpu.json" if jax.default_backend() == "gpu" else "precision.json")
    precision.run(file, photographs)
    results.write_page(file, summary=precision.summary)


@app.command("tpu")
def _tpu(
    *,
    topology: Annotated[list[str], typer.Option(help="slice to compile for, as v5e:2x2; repeatable")] = [],  # noqa: B006
    only: Only = [],  # noqa: B006
    output: Output = _RESULTS,
) -> None:
    """Compile for TPUs that are not there; write tpu.json and tpu.md."""
    from benchmarks import tpu

    topologies = topology or tpu.TOPOLOGIES
    cases = tpu.cases(topologies, only)
    if not cases:
        _stop("--only names no program; there are", *(case.name for case in tpu.cases(topologies)))
    file = output / "tpu.json"
    try:
        tpu.run(cases, file, keep=bool(only or topology))
    except tpu.NoCompilerError as error:
        _stop(str(error))
    results.write_page(file, chips=tpu.CHIPS)


@app.command("readme")
def _readme(*, output: Output = _RESULTS) -> None:
    """Write the README's table from speed.json."""
    table = results.render("readme.md.jinja", record=results.read(output / "speed.json"))
    results.put_between(_ROOT / "README.md", "speed", table)


def _stop(message: str, *names: str) -> None:
    print("\n  ".join([message, *names]), file=sys.stderr)
    raise typer.Exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that workers and temporary files do not stay behind
    app(prog_name="python -m benchmarks")
