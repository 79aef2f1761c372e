"""What the report measures of maps and pictures, as pure functions of NumPy arrays.

A map is (h, w), a picture (h, w, 3) uint8, a box (top, left, bottom, right) in pixels, the last two exclusive.
"""

import io
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image
from scipy import ndimage, stats
from skimage.metrics import peak_signal_noise_ratio
from skimage.transform import integral_image

Box: TypeAlias = tuple[int, int, int, int]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation; None where either array is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)  # pyright: ignore[reportAttributeAccessIssue]


def roughness(values: np.ndarray) -> float:
    """Mean absolute difference of neighbours over the mean: 0 for a constant, 1 for independent exponential noise."""
    differences = [np.abs(np.diff(values, axis=axis)).ravel() for axis in (0, 1)]
    return float(np.concatenate(differences).mean() / values.mean()) if values.any() else 0.0


def smallest_box(values: np.ndarray, *, share: float, cell: int) -> Box:
    """The box of least area, on a grid of `cell` pixels, that holds at least this share of the sum of a map.

    Of several such boxes it is the one with the largest sum. For a map of zeros it is the whole picture.
    """
    h, w = values.shape
    rows, columns = -(-h // cell), -(-w // cell)
    padded = np.pad(values.astype(np.float64), ((0, rows * cell - h), (0, columns * cell - w)))
    total = np.pad(integral_image(padded.reshape(rows, cell, columns, cell).sum((1, 3))), ((1, 0), (1, 0)))
    need = share * total[-1, -1] * (1 - 1e-12)
    best, box = (rows * columns, -total[-1, -1]), (0, 0, h, w)
    if not values.any():
        return box
    for height in range(1, rows + 1):
        for width in range(1, min(columns, best[0] // height) + 1):
            sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
            top, left = divmod(int(sums.argmax()), sums.shape[1])
            largest = sums[top, left]
            if largest >= need and (height * width, -largest) < best:
                best = height * width, -largest
                box = top * cell, left * cell, min((top + height) * cell, h), min((left + width) * cell, w)
    return box


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    intersection = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    return intersection / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - intersection)


def central_box(box: Box, shape: Sequence[int]) -> Box:
    """A box of the same height and width in the middle of the picture."""
    height, width = box[2] - box[0], box[3] - box[1]
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    return top, left, top + height, left + width


def centre_map(shape: Sequence[int]) -> np.ndarray:
    """A map that ranks pixels by their distance to the middle, nearest first."""
    rows, columns = (np.arange(size) - (size - 1) / 2 for size in shape[:2])
    return -np.hypot(rows[:, None], columns[None, :]).astype(np.float32)


def perturbation_size(before: np.ndarray, after: np.ndarray) -> dict[str, float | int | None]:
    """The size of a change: the L2 norm of values of 0 to 1, the others in levels of 255; no PSNR of equal pictures."""
    levels = after.astype(np.float64) - before
    return {
        "l2_norm": float(np.linalg.norm(levels / 255)),
        "rms_change_in_levels": float(np.sqrt(np.square(levels).mean())),
        "largest_change_in_levels": int(np.abs(levels).max()),
        "psnr_db": float(peak_signal_noise_ratio(before, after, data_range=255)) if levels.any() else None,
    }


def jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture, saved as JPEG of this quality with Pillow's defaults, and read again."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def shifted(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The picture, moved down and to the right; pixels of the edge are repeated."""
    return ndimage.shift(picture, (rows, columns, 0), order=0, mode="nearest")


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur, `sigma` in pixels, rounded to 8 bits."""
    return ndimage.gaussian_filter(picture.astype(np.float64), (sigma, sigma, 0)).round().astype(np.uint8)


def one_level_noise(picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each value one level higher, one level lower or unchanged, with equal probabilities."""
    return np.clip(picture + random.integers(-1, 2, picture.shape), 0, 255).astype(np.uint8)
