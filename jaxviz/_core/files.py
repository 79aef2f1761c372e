"""Output files: complete or absent, with unique names."""

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary file beside `path`, which replaces `path` when the block ends without an error.

    Readers never see a partial file, even if two processes write the same one.
    """
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(0o666, exist_ok=False)  # minus the umask, which cannot be read without changing it
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # else a power loss may keep the name but not the content
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(folder: object, error: Exception) -> OSError:
    """The error for a folder that is full or cannot be written, with the remedy."""
    return OSError(
        f"cannot write to {folder} ({getattr(error, 'strerror', None) or error}): free some space, or choose another "
        f"folder (for the cache, set JAXVIZ_CACHE)"
    )


def stems(paths: Sequence[Path]) -> list[str]:
    """An output name for each file: its stem, with a number from the second file of the same stem on.

    Case is ignored, as in some file systems.
    """
    names: list[str] = []
    for path in paths:
        taken = {name.casefold() for name in names}
        candidates = itertools.chain([path.stem], (f"{path.stem}-{number}" for number in itertools.count(2)))
        names.append(next(name for name in candidates if name.casefold() not in taken))
    return names
