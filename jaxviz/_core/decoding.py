"""Image files to 8-bit RGB, without JAX."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def decode(path: Path, size: int, resize: int) -> np.ndarray:
    """One file as (size, size, 3) uint8, prepared as torchvision prepares images for evaluation.

    Raises:
        ValueError: no image, damaged, or too large to decode safely.
        OSError: missing, or cannot be read.
    """
    with path.open("rb") as file:  # a missing or unreadable file: the system's own error names it
        try:
            with Image.open(file) as image:
                image = _rgb(ImageOps.exif_transpose(image))
        except UnidentifiedImageError as error:
            raise ValueError(f"{path}: not an image that Pillow can read.") from error
        except Image.DecompressionBombError as error:
            raise ValueError(f"{path}: too large to decode safely; scale it down first. {error}") from error
        except Exception as error:  # whatever a decoder says of bytes that it did not expect
            raise ValueError(f"{path}: damaged or unsupported image: {error}") from error
    width, height = (int(resize * side / min(image.size)) for side in image.size)
    if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(
            f"{path}: {image.width} x {image.height} pixels are too elongated, with a shorter side of {resize} they "
            f"would be {width} x {height}; crop it first."
        )
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey to white; the high byte is what it takes of RGB
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode!r} have no known range; save it with 8 or 16 bits.")
    if image.mode == "P":  # by way of RGBA, where a palette's transparency may be of any form
        image = image.convert("RGBA")
    return image.convert("RGB")
