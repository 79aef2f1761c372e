"""The files of a batch run: a manifest, and shards that are complete or absent.

    manifest.json             the run: method, settings, model, items, versions
    00000.safetensors         the arrays of the first `shard_size` items, without failed ones
    00000.jsonl               their records, one JSON object a line, in the order of the items

A shard is finished when its records exist. They are written after its arrays. Both are written to a temporary name
first, so an interrupted run leaves only finished shards.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from jaxviz._core.files import cannot_write, replacing

Record = dict[str, Any]


class Shards:
    """The folder of a run.

    Args:
        folder: created if it does not exist.
        manifest: the description of the run, as JSON values.

    Raises:
        ValueError: the folder holds the results of another run, or the manifest has a number that is not finite.
        OSError: the folder cannot be written, or is full.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]):
        self.folder = folder
        file = folder / "manifest.json"
        text = json.dumps(manifest, indent=2, allow_nan=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                with replacing(file) as temporary:
                    temporary.write_text(text)
        except OSError as error:
            raise cannot_write(folder, error) from error
        existing, wanted = json.loads(file.read_text()), json.loads(text)
        for name in dict.fromkeys([*existing, *wanted]):
            if existing.get(name) != wanted.get(name):
                raise ValueError(
                    f"{folder} holds the results of another run: its {name} was {existing.get(name)}, not "
                    f"{wanted.get(name)}. Use the same command to resume it, or another --output."
                )

    def finished(self, number: int) -> bool:
        """Whether a shard is finished."""
        return self._records(number).exists()

    def write(self, number: int, records: Sequence[Record], arrays: Mapping[str, np.ndarray]) -> None:
        """Writes one shard.

        Raises:
            ValueError: a record has a number that is not finite, which JSON does not support.
            OSError: the folder cannot be written, or is full. The shard is then not finished.
        """
        records_file = self._records(number)
        for leftover in self.folder.glob(f".{records_file.stem}-*"):  # from a process that was killed while writing
            leftover.unlink(missing_ok=True)
        try:
            with replacing(records_file.with_suffix(".safetensors")) as temporary:
                safetensors.numpy.save_file(dict(arrays), temporary)
            with replacing(records_file) as temporary:
                temporary.write_text("".join(json.dumps(record, allow_nan=False) + "\n" for record in records))
        except (OSError, safetensors.SafetensorError) as error:  # safetensors raises its own error for a full disk
            raise cannot_write(self.folder, error) from error

    def errors(self, number: int) -> int:
        """The number of records with an error in a finished shard."""
        with self._records(number).open() as lines:
            return sum("error" in json.loads(line) for line in lines)

    def _records(self, number: int) -> Path:
        return self.folder / f"{number:05d}.jsonl"
