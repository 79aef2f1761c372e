"""Output of the command line: progress on standard error, a table or JSON on standard output, the exit status."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

Record = dict[str, Any]
_T = TypeVar("_T")

_COLUMNS = (
    SpinnerColumn(),
    TextColumn("{task.description}", markup=False),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
)

_SECONDS_BETWEEN_LINES = 10.0

INTERRUPTED = 130  # exit status after Ctrl-C, as in typer


class Job(NamedTuple):
    """A job in three parts; the second part runs for several jobs at once.

    Attributes:
        name: shown in the progress bar.
        about: the first entries of the record.
        load: () -> input.
        compute: inputs -> results; adjacent jobs with the same function are computed together.
        write: (input, result) -> the remaining entries of the record.
    """

    name: str
    about: Record
    load: Callable[[], Any]
    compute: Callable[[list[Any]], Iterable[Any]]
    write: Callable[[Any, Any], Record]


def run(jobs: Sequence[Job], *, at_once: int) -> list[Record]:
    """Runs the jobs, `at_once` at a time. A failed job has a record with "error"; Ctrl-C keeps finished jobs."""
    records: list[Record] = []
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(jobs))
        try:
            for _, alike in itertools.groupby(jobs, key=lambda job: job.compute):
                while group := list(itertools.islice(alike, at_once)):
                    progress.update(task, description=", ".join(job.name for job in group))
                    for record in _records(group):
                        records.append(record)
                        progress.advance(task)
        except KeyboardInterrupt:
            error = {"error": "interrupted; finished files are written", "interrupted": True}
            records += [{**job.about, **error} for job in jobs[len(records) :][:1]]
    return records


def _records(group: Sequence[Job]) -> Iterator[Record]:
    inputs = [_attempt(job.load) for job in group]
    good = [value for value in inputs if not isinstance(value, Exception)]
    results = _attempt(lambda: list(group[0].compute(good))) if good else []
    remaining = itertools.repeat(results) if isinstance(results, Exception) else iter(results)
    for job, value in zip(group, inputs, strict=True):
        outcome = value if isinstance(value, Exception) else next(remaining)
        if not isinstance(outcome, Exception):
            outcome = _attempt(lambda job=job, value=value, result=outcome: job.write(value, result))
        yield {**job.about, "error": str(outcome)} if isinstance(outcome, Exception) else {**job.about, **outcome}


def _attempt(work: Callable[[], _T]) -> _T | Exception:
    """The result, or an error that the user can fix."""
    try:
        return work()
    except (ValueError, IndexError, OSError) as error:
        return error


def report(records: Sequence[Record], *, as_json: bool, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints the records, then their errors. The exit status is 1 after an error, `INTERRUPTED` after Ctrl-C."""
    if as_json:
        print(json.dumps(records, indent=2))
    else:
        table = Table(*columns)
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))  # file names may contain rich's markup
        if table.row_count:
            Console().print(table)
    failed = [record for record in records if "error" in record]
    for record in failed:
        fail(record["error"])
    if failed:
        raise typer.Exit(INTERRUPTED if any("interrupted" in record for record in failed) else 1)


@contextlib.contextmanager
def bars() -> Iterator[Callable[[str, int, int, str], None]]:
    """Progress bars of a report, one per section: a function of (title, parts done, parts, last part)."""
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def show(title: str, done: int, parts: int, last: str) -> None:
            if title not in tasks:
                for task in tasks.values():
                    progress.stop_task(task)
                tasks[title] = progress.add_task(title, total=parts)
            progress.update(
                tasks[title], completed=done, description=f"{title} ({last})" if done < parts and last else title
            )

        yield show


@contextlib.contextmanager
def rate(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar with images per second: a function of the number of images done since the last call.

    Without a terminal, a line every few seconds.
    """
    console = Console(stderr=True)
    start = last = time.perf_counter()
    done = 0

    def speed() -> str:
        return f"{done / (time.perf_counter() - start):.1f} images/s"

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=hidden) as progress:
        task = progress.add_task(name, total=total, rate="")

        def advance(count: int) -> None:
            nonlocal done, last
            done += count
            progress.update(task, advance=count, rate=speed())
            if hidden and time.perf_counter() - last > _SECONDS_BETWEEN_LINES:
                last = time.perf_counter()
                typer.echo(f"{done} of {total}, {speed()}", err=True)

        yield advance


def report_written(record: Record, page: Path, *, as_json: bool) -> None:
    """Prints the path or the JSON of a report, and its errors; exit status as in `report`."""
    about = record["about"]
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        print(page)
    for error in about["errors"]:
        fail(error["error"])
    if about["interrupted"]:
        fail("interrupted; the page has what is finished")
        raise typer.Exit(INTERRUPTED)
    if about["errors"]:
        raise typer.Exit(1)


def fail(message: str) -> None:
    """Prints an error as one line on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print("[red]error:[/]", end=" ")
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False).print(message)


def folder(path: Path) -> Path:
    """The output folder; creates it if it does not exist."""
    path.mkdir(parents=True, exist_ok=True)
    return path
