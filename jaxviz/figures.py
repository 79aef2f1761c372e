"""Figures of the three methods, as matplotlib figures that are not displayed (extra `app`).

Images are ImageNet-normalized, (h, w, 3); a caption is text under a picture.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from jaxviz import images as _images
from jaxviz._core.files import replacing

_COLORMAP = "hot"  # black, red, yellow, white
_INCHES = 2.6  # per picture: 260 pixels at `save`'s resolution, so that 224 pixels are not scaled down


def saliency_figure(images: ArrayLike, maps: ArrayLike, captions: Sequence[str]) -> Figure:
    """Each image above its saliency map; values from the map's 99.5th percentile on are white.

    A few pixels have a much larger saliency than the others; with a scale up to the maximum the map would be black.

    Args:
        images: (n, h, w, 3).
        maps: (n, h, w), from `saliency_maps`.
        captions: n texts, one under each image.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz import figures
        >>> figure = figures.saliency_figure(jnp.zeros((2, 8, 8, 3)), jnp.ones((2, 8, 8)), ["a cat", "a cup"])
        >>> len(figure.axes)
        4
    """
    maps = np.asarray(maps)
    below = [
        (values, f"saliency, white from {_white(values):.2g}", {"cmap": _COLORMAP, "vmin": 0, "vmax": _white(values)})
        for values in maps
    ]
    return _two_rows(np.asarray(_images.to_uint8(images)), captions, below)


def cam_figure(images: ArrayLike, maps: ArrayLike, captions: Sequence[str]) -> Figure:
    """Each image above the same image under its class activation map: red is the map's maximum, blue is 0.

    Args:
        images: (n, h, w, 3).
        maps: (n, h, w), from `grad_cam`, resized to the images.
        captions: n texts, one under each image.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz import figures
        >>> figure = figures.cam_figure(jnp.zeros((2, 8, 8, 3)), jnp.ones((2, 8, 8)), ["a cat", "a cup"])
        >>> len(figure.axes)
        4
    """
    pictures, maps = np.asarray(_images.to_uint8(images)), np.asarray(maps)
    below = [
        (cam_picture(picture, values), f"class activation map, red is {values.max():.2g}", {})
        for picture, values in zip(pictures, maps, strict=True)
    ]
    return _two_rows(pictures, captions, below)


def fooling_figure(pictures: Sequence[ArrayLike], captions: Sequence[str]) -> Figure:
    """Original image, fooling image, difference and magnified difference, side by side.

    Args:
        pictures: four (h, w, 3) uint8 pictures; the last two from `difference_picture`.
        captions: four texts, one under each picture.

    Example:
        >>> import numpy as np
        >>> from jaxviz import figures
        >>> grey = np.full((8, 8, 3), 127, np.uint8)
        >>> figure = figures.fooling_figure([grey] * 4, ["a", "b", "c", "d"])
        >>> [axes.get_title() for axes in figure.axes]
        ['original', 'fooled', 'difference', 'difference, magnified']
    """
    figure, axes = _grid(1, 4)
    titles = ("original", "fooled", "difference", "difference, magnified")
    for cell, picture, title, caption in zip(axes[0], pictures, titles, captions, strict=True):
        cell.imshow(np.asarray(picture), interpolation="nearest")
        cell.set_title(title)
        cell.set_xlabel(caption)
    return figure


def saliency_picture(values: ArrayLike) -> np.ndarray:
    """A saliency map (h, w) as a uint8 picture, black at 0 and white from the 99.5th percentile on.

    Example:
        >>> import numpy as np
        >>> from jaxviz import figures
        >>> figures.saliency_picture(np.array([[0.0, 1.0]])).tolist()
        [[[11, 0, 0], [255, 255, 255]]]
    """
    values = np.asarray(values)
    colored = mpl.colormaps[_COLORMAP](np.clip(values / (_white(values) or 1), 0, 1))
    return (255 * colored[..., :3]).round().astype(np.uint8)


def cam_picture(picture: ArrayLike, values: ArrayLike) -> np.ndarray:
    """A uint8 picture (h, w, 3) under a class activation map (h, w), blue at 0 and red at the maximum.

    Example:
        >>> import numpy as np
        >>> from jaxviz import figures
        >>> figures.cam_picture(np.zeros((1, 2, 3), np.uint8), np.array([[0.0, 1.0]])).tolist()
        [[[0, 0, 64], [64, 0, 0]]]
    """
    values = np.asarray(values)
    colored = mpl.colormaps["jet"](values / (values.max() or 1))[..., :3]
    grey = np.asarray(picture).mean(-1, keepdims=True) / 255  # colours are the map's alone
    return (255 * (0.5 * grey + 0.5 * colored)).round().astype(np.uint8)


def difference_picture(original: ArrayLike, changed: ArrayLike, *, gain: float = 1.0) -> np.ndarray:
    """The difference of two uint8 pictures, changed - original, times `gain`, around middle grey.

    Example:
        >>> import numpy as np
        >>> from jaxviz import figures
        >>> a = np.zeros((1, 1, 3), np.uint8)
        >>> figures.difference_picture(a, a + np.uint8(4), gain=10.0)
        array([[[168, 168, 168]]], dtype=uint8)
    """
    difference = np.asarray(changed, np.float32) - np.asarray(original, np.float32)
    return np.clip(128 + gain * difference, 0, 255).round().astype(np.uint8)


def save(path: _images.PathLike, figure: Figure) -> None:
    """Writes a figure in the format of the file's suffix, completely or not at all.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from jaxviz import figures
        >>> grey = np.full((8, 8, 3), 127, np.uint8)
        >>> path = pathlib.Path(tempfile.mkdtemp(), "figure.png")
        >>> figures.save(path, figures.fooling_figure([grey] * 4, ["a", "b", "c", "d"]))
        >>> path.exists()
        True
    """
    with replacing(Path(path)) as temporary:
        figure.savefig(temporary, dpi=100)


def _white(values: np.ndarray) -> float:
    return float(np.percentile(values, 99.5) or values.max())  # of a map with very few pixels above 0


def _two_rows(
    pictures: np.ndarray, captions: Sequence[str], below: Sequence[tuple[np.ndarray, str, dict[str, Any]]]
) -> Figure:
    """Pictures with captions above arrays with captions and options of `imshow`."""
    figure, axes = _grid(2, len(pictures))
    for column, (picture, caption, (array, text, options)) in enumerate(zip(pictures, captions, below, strict=True)):
        axes[0][column].imshow(picture, interpolation="nearest")
        axes[0][column].set_xlabel(caption)
        axes[1][column].imshow(array, interpolation="nearest", **options)
        axes[1][column].set_xlabel(text)
    return figure


def _grid(rows: int, columns: int):
    # matplotlib.pyplot would keep every figure in memory and need a display
    figure = Figure(figsize=(columns * _INCHES, rows * (_INCHES + 0.6)), layout="compressed")
    axes = figure.subplots(rows, columns, squeeze=False)
    for cell in axes.flat:
        cell.set_xticks([])
        cell.set_yticks([])
    return figure, axes
