"""Files and folders on disk or at a URL such as `s3://bucket/folder`, by universal-pathlib and fsspec."""

import contextlib
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from upath import UPath

from jaxviz._core.files import replacing

Location: TypeAlias = Path | UPath


def locate(base: Location, name: str) -> Location:
    """A name relative to a folder, or a URL of its own."""
    return UPath(name) if "://" in name else base / name


def read(location: Location, start: int = 0, end: int | None = None) -> bytes:
    """The bytes from `start` to `end` of a file, in one request.

    Raises:
        FileNotFoundError, PermissionError: the file or its bucket is missing or refused.
        ConnectionError: the store does not answer.
    """
    if isinstance(location, Path):
        with location.open("rb") as file:
            file.seek(start)
            return file.read(-1 if end is None else end - start)
    with reaching(location):
        return _filesystem(location).cat_file(location.path, start=start, end=end)


def files(folder: Location) -> list[str]:
    """The files in a folder and its subfolders, relative to it, sorted."""
    if isinstance(folder, Path):
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    with reaching(folder):
        filesystem = _filesystem(folder)
        filesystem.invalidate_cache()  # other processes write, too
        prefix = f"{folder.path.rstrip('/')}/"
        return sorted(path.removeprefix(prefix) for path in filesystem.find(folder.path) if path != folder.path)


@contextlib.contextmanager
def writing(location: Location) -> Iterator[Path]:
    """Yields a temporary file on disk, which becomes `location` when the block ends without an error.

    Readers never see a partial file: a folder renames it, and an object store shows an object once it is whole.
    """
    if isinstance(location, Path):
        with replacing(location) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory() as folder:
        yield (temporary := Path(folder) / location.name)
        with reaching(location):
            _filesystem(location).put_file(str(temporary), location.path)


@contextlib.contextmanager
def reaching(location: Location) -> Iterator[None]:
    """Turns the errors of a store's library, which may be of any type, into errors of one line that name the URL."""
    try:
        yield
    except (ImportError, UnicodeError, tarfile.TarError):  # of a missing package, and of what the store has sent
        raise
    except Exception as error:
        if isinstance(location, Path):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(f"{location}: no such file, folder or bucket ({text})") from error
        if isinstance(error, PermissionError):
            raise PermissionError(f"{location}: access is refused ({text})") from error
        raise ConnectionError(f"{location}: no answer ({text})") from error


def _filesystem(location: UPath) -> Any:
    return location.fs
