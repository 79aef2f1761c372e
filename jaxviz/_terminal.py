"""How the command line talks: progress on standard error, a table or JSON on standard output, an exit status."""

import itertools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from weights_convert.files import replacing as replacing

Record = dict[str, Any]

INTERRUPTED = 130  # the exit status of what Ctrl-C ended, typer's own too


class Job(NamedTuple):
    """One piece of work: a name to show, what its record starts with, and what does it."""

    name: str
    about: Record
    work: Callable[[], Record]


def run(jobs: Sequence[Job]) -> list[Record]:
    """Does the jobs in turn. One that fails leaves a record with "error"; Ctrl-C keeps what is finished."""
    records = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(jobs))
        for job in jobs:
            progress.update(task, description=job.name)
            try:
                records.append({**job.about, **job.work()})
            except KeyboardInterrupt:
                records.append(
                    {**job.about, "error": "interrupted; what came before it is written", "interrupted": True}
                )
                break
            except (ValueError, IndexError, OSError) as error:
                records.append({**job.about, "error": str(error)})
            progress.advance(task)
    return records


def report(records: Sequence[Record], *, as_json: bool, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints the records, then the errors among them; any error makes the exit status 1, Ctrl-C `INTERRUPTED`."""
    if as_json:
        print(json.dumps(records, indent=2))
    else:
        table = Table(*columns)
        for row in rows:
            table.add_row(*(Text(str(cell)) for cell in row))  # a file's name may look like rich's markup
        if table.row_count:
            Console().print(table)
    failed = [record for record in records if "error" in record]
    for record in failed:
        fail(record["error"])
    if failed:
        raise typer.Exit(INTERRUPTED if any("interrupted" in record for record in failed) else 1)


def fail(message: str) -> None:
    """One line on standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print("[red]error:[/]", end=" ")
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False).print(message)


def folder(path: Path) -> Path:
    """A folder to write to, made if need be."""
    path.mkdir(parents=True, exist_ok=True)
    return path


def stems(paths: Sequence[Path]) -> list[str]:
    """A name for the output of each file: its own, numbered from the second file of that name on.

    Upper and lower case are the same, as they are to some file systems.
    """
    names: list[str] = []
    for path in paths:
        taken = {name.casefold() for name in names}
        candidates = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
        names.append(next(name for name in candidates if name.casefold() not in taken))
    return names
