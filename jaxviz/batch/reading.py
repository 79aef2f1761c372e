"""Reads images in grain's threads, ahead of the computation."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import grain
import numpy as np

from jaxviz._core.decoding import decode

# Pillow decodes and resizes without Python's lock. Few threads leave the CPU to the computation; few prefetched images
# keep memory small.
_THREADS, _AHEAD = 8, 64


def read(paths: Sequence[Path], *, size: int, resize: int) -> Iterator[np.ndarray | str]:
    """The pixels of each file, (size, size, 3) uint8, in order; or the error message."""

    def one(path: Path) -> np.ndarray | str:
        try:
            return decode(path, size, resize)
        except (ValueError, OSError) as error:
            return str(error)

    dataset = grain.MapDataset.source(paths).map(one)
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_AHEAD)))
