"""The command: `python -m benchmarks speed`, `precision` or `tpu`, and `readme` for the tables that follow."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import page, precision_page, results, speed, tpu, tpu_page
from benchmarks.tpu_program import NoCompilerError
from benchmarks.workloads import FULL, QUICK

_ROOT = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        The exit status, 1 where a form failed or its results disagree, or where there is nothing to compile with.
    """
    options = _parser().parse_args(arguments)
    if options.command == "readme":
        tables = {"speed": page.readme_table, "precision": precision_page.readme_table, "tpu": tpu_page.readme_table}
        for mark, table in tables.items():
            page.put_between(_ROOT / "README.md", mark, table(results.read(options.output / f"{mark}.json")))
        return 0
    return {"speed": _speed, "precision": _precision, "tpu": _tpu}[options.command](options)


def _speed(options: argparse.Namespace) -> int:
    from benchmarks import plot  # needs matplotlib, which the other commands do without

    file = options.output / "speed.json"
    table = QUICK if options.quick else FULL
    workloads = [
        workload for workload in table if not options.only or any(part in workload.name for part in options.only)
    ]
    if not workloads:
        names = "\n  ".join(workload.name for workload in table)
        print(f"--only names no workload; there are\n  {names}", file=sys.stderr)
        return 1
    good = speed.run(workloads, file, only_forms=options.forms, keep=bool(options.only))
    record = results.read(file)
    page.write(file.with_suffix(".md"), record)
    plot.write(file.with_suffix(".png"), record)
    return 0 if good else 1


def _precision(options: argparse.Namespace) -> int:
    from benchmarks import precision  # needs scipy

    file = options.output / "precision.json"
    precision.run(file, options.photographs)
    precision_page.write(file.with_suffix(".md"), results.read(file))
    return 0


def _tpu(options: argparse.Namespace) -> int:
    file = options.output / "tpu.json"
    cases = tpu.cases(options.topology or tpu.TOPOLOGIES, options.only)
    if not cases:
        names = "\n  ".join(case.name for case in tpu.cases(options.topology or tpu.TOPOLOGIES, ()))
        print(f"--only names no program; there are\n  {names}", file=sys.stderr)
        return 1
    try:
        tpu.run(cases, file, keep=bool(options.only or options.topology))
    except NoCompilerError as error:
        print(error, file=sys.stderr)
        return 1
    tpu_page.write(file.with_suffix(".md"), results.read(file))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("speed", help="time jaxviz beside PyTorch; writes speed.json, speed.md and speed.png")
    run.add_argument("--quick", action="store_true", help="a few small workloads, in minutes")
    run.add_argument(
        "--only",
        action="append",
        metavar="SUBSTRING",
        help="workloads with this in their name, added to the JSON that is there; may be repeated",
    )
    run.add_argument(
        "--forms", default="", metavar="SUBSTRING", help="forms with this in their name, beside the reference"
    )
    bits = commands.add_parser("precision", help="the methods in bfloat16 and TF32; writes precision.json and .md")
    bits.add_argument(
        "--photographs",
        type=Path,
        default=_ROOT.parent / "shared" / "data" / "imagenet_val_25.npz",
        metavar="FILE",
        help=".npz of X, (n, 224, 224, 3) uint8 RGB, and y, (n,) classes",
    )
    compile_ = commands.add_parser("tpu", help="compile for TPUs that are not there; writes tpu.json and tpu.md")
    compile_.add_argument(
        "--topology",
        action="append",
        metavar="CHIP:SHAPE",
        help=f"the slice to compile for; may be repeated (default: {', '.join(tpu.TOPOLOGIES)})",
    )
    compile_.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="SUBSTRING",
        help="programs with this in their name; may be repeated. The other rows of the JSON stay",
    )
    readme = commands.add_parser("readme", help="rewrite the README's tables from the JSON files")
    for command in (run, bits, compile_, readme):
        command.add_argument("--output", type=Path, default=_ROOT / "benchmarks" / "results", metavar="FOLDER")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that workers and temporary files do not stay behind
    sys.exit(main())
