"""Weight files in jaxviz's layout (safetensors)."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from jaxviz._core.files import cannot_write, replacing

CONVERTER_VERSION = "1"


class Weights(NamedTuple):
    """Weights in jaxviz's layout, with their architecture and source."""

    arrays: dict[str, np.ndarray]
    architecture: str
    source: str
    source_sha256: str


def write(path: Path, weights: Weights) -> None:
    """Writes a .safetensors file, with the other fields as metadata; creates the folder if it does not exist.

    Raises:
        OSError: the folder cannot be written, or is full.
    """
    metadata = {field: getattr(weights, field) for field in Weights._fields if field != "arrays"}
    metadata["converter_version"] = CONVERTER_VERSION
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            safetensors.numpy.save_file(weights.arrays, temporary, metadata)
    except (OSError, safetensors.SafetensorError) as error:  # safetensors raises its own error for a full disk
        raise cannot_write(path.parent, error) from error


def read(path: Path) -> Weights:
    """Reads a file from `write`.

    Raises:
        ValueError: the file is damaged, or is not from `write`.
        OSError: the file is missing or cannot be read.
    """
    with path.open("rb"):
        pass  # the system's error names a missing or unreadable file
    again = "write it again with `python -m weights_convert`, or delete it if it lies in jaxviz's cache"
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            # Check before reading arrays: a foreign file may have dtypes that NumPy does not support.
            if metadata.get("converter_version") != CONVERTER_VERSION:
                raise ValueError(f"{path} is not in the layout of this version of jaxviz; {again}.")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file ({error}); {again}.") from error
    return Weights(arrays, metadata["architecture"], metadata["source"], metadata["source_sha256"])
