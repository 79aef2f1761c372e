"""Reads images in grain's threads, ahead of the computation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import grain
import numpy as np

from jaxviz._core.decoding import decode
from jaxviz.batch import items, locations
from jaxviz.batch.items import Item
from jaxviz.batch.locations import Location

# Pillow decodes and resizes without Python's lock. Few threads leave the CPU to the computation; few prefetched images
# keep memory small. A store answers after some 30 ms, so that 8 threads would read 260 images/s.
_THREADS, _STORE_THREADS, _AHEAD = 8, 64, 64


def read(
    item: Callable[[int], Item], count: int, base: Location, *, size: int, resize: int
) -> Iterator[np.ndarray | str]:
    """The pixels of each item, (size, size, 3) uint8, in order; or the error message.

    Args:
        item: the item of each number from 0 to `count` - 1.
        count: number of items.
        base: the folder that the files of the items are relative to.
        size: side of the images, in pixels.
        resize: shorter side before the crop, in pixels.

    Raises:
        ConnectionError: the store does not answer, which says nothing about the image.
    """

    def one(number: int) -> np.ndarray | str:
        found = item(number)
        _, *span = found.tar or (None,)
        try:
            return decode(locations.read(items.location(found, base), *span), str(found.file), size, resize)
        except ConnectionError:
            raise
        except (ValueError, OSError) as error:  # without the folder, which is another one on another machine
            reason = getattr(error, "strerror", None)
            return f"{found.file}: {reason}" if reason else str(error)

    dataset = grain.MapDataset.range(count).map(one)
    threads = _THREADS if isinstance(items.location(item(0), base), Path) else _STORE_THREADS
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_AHEAD)))
