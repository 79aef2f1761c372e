"""Output files: written whole or not at all, under names of their own."""

import contextlib
import itertools
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary file beside `path` to write to, which takes its place when the block ends without an error.

    Nobody ever sees half a file, not even of two processes that write the same one.
    """
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(0o666, exist_ok=False)  # less the umask, which cannot be asked for without changing it
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())  # or a machine that loses power may keep the name without the content
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(folder: Path, error: Exception) -> OSError:
    """What to say, and what to do, when a folder is full or cannot be written."""
    return OSError(
        f"cannot write to {folder} ({getattr(error, 'strerror', None) or error}): make room there, or choose another "
        f"folder (for the cache, set JAXVIZ_CACHE)"
    )


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
