"""Decodes image files to 8-bit RGB, without JAX."""

import io
import math

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


def decode(content: bytes, name: str, size: int, resize: int) -> np.ndarray:
    """One file as (size, size, 3) uint8, prepared as in torchvision's evaluation transforms.

    Args:
        content: of the file.
        name: the file's name in errors.
        size: side of the crop, in pixels.
        resize: shorter side before the crop, in pixels.

    Raises:
        ValueError: the file is not an image, is damaged, or is too large to decode safely.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            image = _rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: not an image that Pillow can read.") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: too large to decode safely; scale it down first. {error}") from error
    except Exception as error:  # decoders raise any exception for unexpected bytes
        raise ValueError(f"{name}: damaged or unsupported image: {error}") from error
    width, height = (int(resize * side / min(image.size)) for side in image.size)
    if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(
            f"{name}: {image.width} x {image.height} pixels are too elongated. With a shorter side of {resize} "
            f"the image would have {width} x {height} pixels; crop it first."
        )
    left, top = round((width - size) / 2), round((height - size) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey to white; use the high byte, as it does for RGB
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode!r} have no known range; save it with 8 or 16 bits.")
    if image.mode == "P":  # through RGBA, which supports every form of palette transparency
        image = image.convert("RGBA")
    return image.convert("RGB")
