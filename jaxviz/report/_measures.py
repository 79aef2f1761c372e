"""What the report measures of maps and pictures, as small pure functions over numpy arrays.

A map is (h, w), a picture (h, w, 3) uint8, a box (top, left, bottom, right) in pixels, the last two exclusive.
"""

import io
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from scipy import ndimage, stats

Box: TypeAlias = tuple[int, int, int, int]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, ties sharing theirs; None where either is constant.

    Example:
        >>> import numpy as np
        >>> from jaxviz.report._measures import rank_correlation
        >>> round(rank_correlation(np.array([[1, 2, 3]]), np.array([[10, 20, 900]])), 6)
        1.0
    """
    ranks = [stats.rankdata(values.ravel()) for values in (a, b)]
    if any(np.ptp(values) == 0 for values in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def roughness(values: np.ndarray) -> float:
    """Mean absolute difference of neighbours over the mean: 0 for a constant, 1 for independent exponential noise."""
    differences = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    return float(np.concatenate(differences).mean() / values.mean()) if values.any() else 0.0


def blurred_map(values: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, reflecting at the edges: what is left of a map when its fine structure is forgotten."""
    return ndimage.gaussian_filter(values.astype(np.float64), sigma)


def smallest_box(values: np.ndarray, *, share: float, cell: int) -> Box:
    """The box of least area, on a grid of `cell` pixels, that holds at least this share of the sum of a map.

    Of equally small ones the one that holds most. A map of zeros has the whole picture.
    """
    h, w = values.shape
    rows, columns = -(-h // cell), -(-w // cell)
    padded = np.pad(values.astype(np.float64), ((0, rows * cell - h), (0, columns * cell - w)))
    cells = padded.reshape(rows, cell, columns, cell).sum((1, 3))
    total = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))  # total[i, j]: the sum above i, left of j
    need = share * total[-1, -1] * (1 - 1e-12)
    best, box = (rows * columns, -total[-1, -1]), (0, 0, h, w)
    if not values.any():
        return box
    for height in range(1, rows + 1):
        for width in range(1, min(columns, best[0] // height) + 1):
            sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
            top, left = divmod(int(sums.argmax()), sums.shape[1])
            held = sums[top, left]
            if held >= need and (height * width, -held) < best:
                best = height * width, -held
                box = top * cell, left * cell, min((top + height) * cell, h), min((left + width) * cell, w)
    return box


def area_share(box: Box, shape: Sequence[int]) -> float:
    """How much of the picture a box covers, 0 to 1."""
    top, left, bottom, right = box
    return (bottom - top) * (right - left) / (shape[0] * shape[1])


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    height = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    width = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = height * width
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def central_box(box: Box, shape: Sequence[int]) -> Box:
    """A box of the same height and width in the middle of the picture."""
    height, width = box[2] - box[0], box[3] - box[1]
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return top, left, top + height, left + width


def inside(shape: Sequence[int], box: Box) -> np.ndarray:
    """(h, w) booleans, True within the box."""
    mask = np.zeros(shape[:2], bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    return mask


def centre_order(shape: Sequence[int]) -> np.ndarray:
    """A map that ranks pixels by nearness to the middle, whatever the picture shows."""
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in shape[:2])
    return -np.hypot(rows[:, None], columns[None, :]).astype(np.float32)


def change(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Size of the difference of two pictures: norms in 8-bit levels, and PSNR in dB (None where they are equal)."""
    levels = after.astype(np.float64) - before
    mean_square = np.square(levels).mean()
    return {
        "l2_levels": float(np.sqrt(np.square(levels).sum())),
        "rms_levels": float(np.sqrt(mean_square)),
        "linf_levels": int(np.abs(levels).max()),
        "psnr_db": 10 * math.log10(255**2 / mean_square) if mean_square else None,
    }


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture after a round trip through JPEG at this quality, with Pillow's defaults."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def shifted(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Translated down and to the right; the edge is repeated where nothing comes in."""
    h, w = picture.shape[:2]
    return picture[np.clip(np.arange(h) - rows, 0, h - 1)[:, None], np.clip(np.arange(w) - columns, 0, w - 1)[None]]


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of a picture, `sigma` in pixels, rounded to 8 bits."""
    return ndimage.gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0)).round().astype(np.uint8)


def one_level_noise(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each value one level up, one down or as it was, with equal chances: less than any eye or camera resolves."""
    return np.clip(picture + random.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)
