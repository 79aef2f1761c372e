"""The files of a batch run: a manifest, and shards that are complete or absent.

    manifest.json             the run: method, settings, model, items, versions
    00000.safetensors         the arrays of the first `shard_size` items, without failed ones
    00000.jsonl               their records, one JSON object a line, in the order of the items

A shard is finished when its records exist. They are written after its arrays. An interrupted run leaves only finished
shards, since no file appears before it is whole.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from jaxviz._core.files import cannot_write
from jaxviz.batch import locations
from jaxviz.batch.locations import Location

Record = dict[str, Any]


class Shards:
    """The folder of a run, on disk or at a URL."""

    def __init__(self, folder: Location):
        self.folder = folder

    def claim(self, manifest: Mapping[str, Any]) -> None:
        """Creates the folder, or makes sure that it is of the same run.

        Args:
            manifest: the description of the run, as JSON values.

        Raises:
            ValueError: the folder holds the results of another run, or the manifest has a number that is not finite.
            OSError: the folder cannot be written, or is full.
        """
        file = self.folder / "manifest.json"
        text = json.dumps(manifest, indent=2, allow_nan=False)
        with self._writable():
            if isinstance(self.folder, Path):  # an object store has no folders
                self.folder.mkdir(parents=True, exist_ok=True)
            try:
                existing = json.loads(locations.read(file))
            except FileNotFoundError:
                with locations.writing(file) as temporary:
                    temporary.write_text(text)
                existing = json.loads(locations.read(file))  # of another process, perhaps
        wanted = json.loads(text)
        for name in dict.fromkeys([*existing, *wanted]):
            if existing.get(name) != wanted.get(name):
                raise ValueError(
                    f"{self.folder} holds the results of another run: its {name} was {existing.get(name)}, not "
                    f"{wanted.get(name)}. Use the same command to resume it, or another --output."
                )

    def finished(self) -> set[int]:
        """The numbers of the finished shards."""
        names = locations.files(self.folder)
        return {int(name.removesuffix(".jsonl")) for name in names if re.fullmatch(r"\d+\.jsonl", name)}

    def write(self, number: int, records: Sequence[Record], arrays: Mapping[str, np.ndarray]) -> None:
        """Writes one shard.

        Raises:
            ValueError: a record has a number that is not finite, which JSON does not support.
            OSError: the folder cannot be written, or is full. The shard is then not finished.
        """
        file = self._records(number)
        if isinstance(file, Path):
            for leftover in file.parent.glob(f".{file.stem}-*"):  # from a process that was killed while writing
                leftover.unlink(missing_ok=True)
        with self._writable():
            with locations.writing(file.with_suffix(".safetensors")) as temporary:
                safetensors.numpy.save_file(dict(arrays), temporary)
            with locations.writing(file) as temporary:
                temporary.write_text("".join(json.dumps(record, allow_nan=False) + "\n" for record in records))

    def errors(self, number: int) -> int:
        """The number of records with an error in a finished shard."""
        return sum("error" in json.loads(line) for line in locations.read(self._records(number)).splitlines())

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except ConnectionError:  # says more
            raise
        except (OSError, safetensors.SafetensorError) as error:  # safetensors raises its own error for a full disk
            raise cannot_write(self.folder, error) from error

    def _records(self, number: int) -> Location:
        return self.folder / f"{number:05d}.jsonl"
