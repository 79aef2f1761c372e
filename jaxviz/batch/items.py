"""The input of a batch run: a folder of images and tar files, or a list with one item a line."""

import functools
import hashlib
import json
import posixpath
import tarfile
import tempfile
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image

from jaxviz import labels
from jaxviz.batch import locations
from jaxviz.batch.locations import Location

_BLOCK = 256  # items read from the temporary file at once
_find = functools.cache(labels.find)  # a name takes a look at all classes


class Item(NamedTuple):
    """One image, or one class to visualize.

    Attributes:
        file: the path in the record, relative to the input folder or the list's folder; None for a class without image.
        class_index: the class in the list, or None.
        tar: for an image in a tar file: the tar file, and where the image starts and ends in it.
    """

    file: str | None
    class_index: int | None
    tar: tuple[str, int, int] | None = None


class Items(Sequence[Item]):
    """The items in order, in a temporary file, so that a list of a million takes as little memory as a short one.

    Attributes:
        digest: SHA-256 of the items in order. A resumed run compares it, to make sure that the input is the same.
    """

    def __init__(self, items: Iterable[Item]):
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the object
        weakref.finalize(self, self._file.close)
        self._starts = [0]  # of the blocks in the file, and its end
        self._count = 0
        sha256 = hashlib.sha256()
        for item in items:
            self._file.write(json.dumps(item).encode() + b"\n")
            self._count += 1
            if self._count % _BLOCK == 0:
                self._starts.append(self._file.tell())
            sha256.update(f"{item.file}\t{item.class_index}\n".encode(errors="surrogateescape"))
        self._starts.append(self._file.tell())
        self.digest = sha256.hexdigest()
        self._last: tuple[int, list[Item]] = (-1, [])  # the number and the items of the block that was read last

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Item:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= place < self._count:
            raise IndexError(f"no item {place} among {self._count}")
        number, offset = divmod(place, _BLOCK)
        with self._lock:  # images are read by several threads
            if self._last[0] != number:
                start, end = self._starts[number : number + 2]
                self._file.seek(start)
                lines = map(json.loads, self._file.read(end - start).splitlines())
                self._last = number, [Item(file, index, tar and tuple(tar)) for file, index, tar in lines]
            return self._last[1][offset]


def root(source: Location) -> Location:
    """The folder that the files of the items are relative to."""
    with locations.reaching(source):
        return source if source.is_dir() else source.parent


def location(item: Item, base: Location) -> Location:
    """The file that holds an item's image: an image, or a tar file."""
    return locations.locate(base, item.tar[0] if item.tar else str(item.file))


def of_images(source: Location, class_index: int | None = None) -> Items:
    """The images of a folder and its subfolders, sorted by name; of a tar file; or of a list, in its order.

    A line of a list is a file, or a file, a tab and a class (name or number). A tar file, in a folder or in a list,
    stands for the images in it.

    Args:
        source: the folder, the tar file or the list.
        class_index: the class of all images, if the list has none.

    Raises:
        ValueError: no images, or an invalid line.
        OSError: `source` is missing or cannot be read.
    """
    base = root(source)
    if base == source:
        named = [Item(name, class_index) for name in locations.files(source) if _is_image(name) or _is_tar(name)]
    elif _is_tar(source.name):
        named = [Item(source.name, class_index)]
    else:
        named = _of_list(source, class_index)
    items = Items(_with_images_of_tars(named, base))
    if not items:
        raise ValueError(f"{source} has no file with the suffix of an image.")
    return items


def of_classes(source: Location) -> Items:
    """The classes of a list, one name or number a line.

    Raises:
        ValueError: an empty list, or a line that is not a class.
        OSError: `source` is missing, a folder, or cannot be read.
    """
    if root(source) == source:
        raise ValueError(f"{source} is a folder; visualize needs a list of classes, one name or number a line.")
    return Items(Item(None, _class(source, number, line)) for number, line in _lines(source))


def _of_list(source: Location, class_index: int | None) -> Iterator[Item]:
    with_class = None
    for number, line in _lines(source):
        file, tab, text = line.partition("\t")
        item = Item(file, _class(source, number, text) if tab else class_index)
        if with_class not in (None, bool(tab)):
            raise ValueError(f"{source}: some lines have a class after a tab and some have none; give all of them one.")
        if tab and class_index is not None:
            raise ValueError(f"{source} has classes of its own; remove the class of the command line.")
        with_class = bool(tab)
        yield item


def _with_images_of_tars(items: Iterable[Item], base: Location) -> Iterator[Item]:
    """The items, with the images of each tar file in its place."""
    for item in items:
        file = str(item.file)
        if not _is_tar(file):
            yield item
            continue
        for name, start, end in _images_of_tar(locations.locate(base, file)):
            yield Item(f"{file}/{name}", item.class_index, (file, start, end))


def _images_of_tar(tar: Location) -> list[tuple[str, int, int]]:
    """The name, the first byte and the end of each image in a tar file."""
    try:
        with locations.reaching(tar), tar.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as members:
            found = [member for member in members if member.isfile() and _is_image(member.name)]
    except tarfile.TarError as error:
        raise ValueError(f"{tar} is damaged, compressed or no tar file: {error}") from error
    return [(member.name, member.offset_data, member.offset_data + member.size) for member in found]


def _is_image(name: str) -> bool:
    return _suffix(name) in Image.registered_extensions()


def _is_tar(name: str) -> bool:
    return _suffix(name) == ".tar"


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()  # `pathlib` would keep each name


def _lines(source: Location) -> Iterator[tuple[int, str]]:
    """The numbers and the texts of a list's lines, but for empty ones."""
    empty = True
    try:
        with locations.reaching(source), source.open("r", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, start=1):
                if text := line.rstrip("\n"):
                    empty = False
                    yield number, text
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is no text in UTF-8; pass a folder, or a list with one item a line.") from error
    if empty:
        raise ValueError(f"{source} is an empty list; it needs one item a line.")


def _class(source: Location, number: int, text: str) -> int:
    try:
        return _find(text)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{source}, line {number}: {error}") from error
