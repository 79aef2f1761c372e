"""The input of a batch run: a folder of images, or a list with one item a line."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from jaxviz import labels


class Item(NamedTuple):
    """One image, or one class to visualize.

    Attributes:
        file: the path in the record, relative to the input folder or the list's folder; None for a class without image.
        class_index: the class in the list, or None.
    """

    file: str | None
    class_index: int | None


def root(source: Path) -> Path:
    """The folder that the files of the items are relative to."""
    return source if source.is_dir() else source.parent


def of_images(source: Path) -> list[Item]:
    """The images of a folder and its subfolders, sorted by name; or those of a list, in its order.

    A line of a list is a file, or a file, a tab and a class (name or number).

    Raises:
        ValueError: no images, or an invalid line.
        OSError: `source` is missing or cannot be read.
    """
    if source.is_dir():
        suffixes = Image.registered_extensions()
        paths = [path for path in source.rglob("*") if path.suffix.lower() in suffixes and path.is_file()]
        items = [Item(name, None) for name in sorted(path.relative_to(source).as_posix() for path in paths)]
        if not items:
            raise ValueError(f"{source} has no file with the suffix of an image.")
        return items
    items = []
    for number, line in _lines(source):
        file, tab, text = line.partition("\t")
        items.append(Item(file, _class(source, number, text) if tab else None))
    if len({item.class_index is None for item in items}) > 1:
        raise ValueError(f"{source}: some lines have a class after a tab and some have none; give all of them one.")
    return items


def of_classes(source: Path) -> list[Item]:
    """The classes of a list, one name or number a line.

    Raises:
        ValueError: an empty list, or a line that is not a class.
        OSError: `source` is missing, a folder, or cannot be read.
    """
    if source.is_dir():
        raise ValueError(f"{source} is a folder; visualize needs a list of classes, one name or number a line.")
    return [Item(None, _class(source, number, line)) for number, line in _lines(source)]


def digest(items: Sequence[Item]) -> str:
    """SHA-256 of the items in order. A resumed run compares it, to make sure that the input is the same."""
    sha256 = hashlib.sha256()
    for item in items:
        sha256.update(f"{item.file}\t{item.class_index}\n".encode(errors="surrogateescape"))
    return sha256.hexdigest()


def _lines(source: Path) -> list[tuple[int, str]]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is no text in UTF-8; pass a folder, or a list with one item a line.") from error
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError(f"{source} is an empty list; it needs one item a line.")
    return lines


def _class(source: Path, number: int, text: str) -> int:
    try:
        return labels.find(text)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{source}, line {number}: {error}") from error
