"""Computes shards: reads ahead, keeps one batch in flight, and writes each shard when it is complete."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import repeat
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxviz import labels
from jaxviz.batch.items import Item
from jaxviz.batch.locations import Location
from jaxviz.batch.methods import Method
from jaxviz.batch.reading import read
from jaxviz.batch.shards import Record, Shards


class Sizes(NamedTuple):
    """Items of the run, per shard and per batch; side of an image, and shorter side before the crop, in pixels."""

    run: int
    shard: int
    batch: int
    image: int
    resize: int

    def places(self, shard: int) -> range:
        """The positions in the list of a shard's items."""
        return range(self.run)[shard * self.shard :][: self.shard]


def versions() -> dict[str, str]:
    """The versions that results depend on; all processes of a run have the same."""
    return {name: version(name) for name in ("jaxviz", "jax")}


class Outcome(NamedTuple):
    """The number of records with an error, and the seconds spent waiting for "images", "results" and "writing"."""

    errors: int
    seconds: dict[str, float]


class _Batch(NamedTuple):
    places: range
    errors: dict[int, str]
    results: Any  # on the devices: one row for each item without an error, then padding
    ends_shard: bool


class Work:
    """Computes shards and writes them.

    Args:
        store: where to.
        items: the item at each position of the shards.
        base: the folder that the files of the items are relative to; None for items without files.
        sizes: of the run.
    """

    def __init__(self, store: Shards, items: Sequence[Item] | Mapping[int, Item], base: Location | None, sizes: Sizes):
        self._store, self._items, self._base, self._sizes = store, items, base, sizes
        self._seconds = {"images": 0.0, "results": 0.0, "writing": 0.0}

    def run(self, pending: Sequence[int], method: Method, advance: Callable[[int], None]) -> Outcome:
        """Computes and writes the shards of these numbers.

        Args:
            pending: the numbers, in ascending order.
            method: what to compute.
            advance: called after each batch with the number of items done.

        Raises:
            OSError: the folder cannot be written, or is full. Finished shards stay.
            ConnectionError: a store does not answer. Finished shards stay.
        """
        errors = 0
        records: list[Record] = []
        kept: list[dict[str, np.ndarray]] = []

        def land(batch: _Batch) -> None:
            nonlocal records, kept, errors
            added, arrays = self._records(batch, method, first_row=sum(map(_rows, kept)))
            records += added
            kept += arrays
            if batch.ends_shard:
                with self._timed("writing"):
                    whole = {name: np.concatenate([one[name] for one in kept]) for name in (kept[0] if kept else ())}
                    self._store.write(batch.places.start // self._sizes.shard, records, whole)
                errors += sum("error" in record for record in records)
                records, kept = [], []
            advance(len(batch.places))

        in_flight = None
        for batch in self._batches(pending, method):
            if in_flight is not None:
                land(in_flight)
            in_flight = batch
        if in_flight is not None:
            land(in_flight)
        return Outcome(errors, self._seconds)

    def _batches(self, pending: Sequence[int], method: Method) -> Iterator[_Batch]:
        size, items = self._sizes.batch, self._items
        pictures = self._pictures(pending)
        for shard in pending:
            everything = self._sizes.places(shard)
            for offset in range(0, len(everything), size):
                places = everything[offset : offset + size]
                with self._timed("images"):
                    loaded = dict(zip(places, pictures, strict=False))
                errors = {place: one for place, one in loaded.items() if isinstance(one, str)}
                good = [place for place in places if place not in errors]
                results = None
                if good:
                    padded = (good + [good[-1]] * size)[:size]
                    classes = [items[place].class_index for place in padded]
                    pixels = [picture for place in padded if isinstance(picture := loaded[place], np.ndarray)]
                    with self._timed("results"):  # the host may wait here for a busy device
                        results = method.start(
                            np.stack(pixels) if pixels else None,
                            np.array(padded),
                            None if None in classes else np.array(classes, np.int32),
                        )
                yield _Batch(places, errors, results, places.stop == everything.stop)

    def _pictures(self, pending: Sequence[int]) -> Iterator[np.ndarray | str | None]:
        """The pixels or the error message of each pending item; None for an item without file."""
        size, count = self._sizes.shard, sum(len(self._sizes.places(shard)) for shard in pending)

        def item(number: int) -> Item:
            return self._items[pending[number // size] * size + number % size]

        if not count or self._base is None:
            return repeat(None)
        return read(item, count, self._base, size=self._sizes.image, resize=self._sizes.resize)

    def _records(
        self, batch: _Batch, method: Method, *, first_row: int
    ) -> tuple[list[Record], list[dict[str, np.ndarray]]]:
        rows = len(batch.places) - len(batch.errors)
        values: dict[str, np.ndarray] = {}
        arrays: dict[str, np.ndarray] = {}
        if rows:
            with self._timed("results"):
                host = jax.device_get(batch.results)
            values, arrays = (
                {name: array[:rows] for name, array in arrays.items()} for arrays in map(dict, method.finish(host))
            )
        records: list[Record] = []
        results = iter(range(rows))
        kept: list[int] = []
        for place in batch.places:
            item = self._items[place]
            record = _named("target", item.class_index) if item.file is None else {"file": item.file}
            if place in batch.errors:
                records.append(record | {"error": batch.errors[place]})
                continue
            row = next(results)
            values_of_item = {name: array[row].item() for name, array in values.items()}
            if wrong := [f"{name} {value}" for name, value in values_of_item.items() if not math.isfinite(value)]:
                records.append(record | {"error": f"the model's results are not finite: {', '.join(wrong)}"})
                continue
            for name, value in values_of_item.items():
                record |= _named(name, value) if name in ("label", "target") else {name: value}
            records.append(record | {"row": first_row + len(kept)})
            kept.append(row)
        return records, [{name: array[kept] for name, array in arrays.items()}] if kept else []

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self._seconds[what] += time.perf_counter() - start


def _named(name: str, class_index: int | None) -> Record:
    return {} if class_index is None else {name: class_index, f"{name}_name": labels.name(class_index)}


def _rows(arrays: dict[str, np.ndarray]) -> int:
    return len(next(iter(arrays.values())))
