"""Image files and arrays, and the image operations of the methods.

Images are (..., h, w, 3) RGB in ImageNet-normalized space: 8-bit values over 255, minus `IMAGENET_MEAN`, over
`IMAGENET_STD`; valid values lie within `IMAGENET_BOUNDS`.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, UInt8
from PIL import Image

from jaxviz._core.decoding import decode
from jaxviz._core.files import replacing

PathLike: TypeAlias = str | os.PathLike[str]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _normalized(pixels: UInt8[np.ndarray, "*n h w 3"]) -> Float[np.ndarray, "*n h w 3"]:
    *shape, width, _ = pixels.shape
    mean, std = (np.tile(np.asarray(values, np.float32), width) for values in (IMAGENET_MEAN, IMAGENET_STD))
    # Divide whole rows: NumPy is five times slower in loops over only 3 channels.
    rows = np.divide(pixels.reshape(*shape, width * 3), np.float32(255), dtype=np.float32)
    rows -= mean
    rows /= std
    return rows.reshape(pixels.shape)


# The value of each 8-bit level in each channel. A table gives the same bits on every platform; a compiler may replace
# the division by a product.
_LEVELS = _normalized(np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, 2))[:, 0]
IMAGENET_BOUNDS = (_LEVELS[0], _LEVELS[255])


def from_uint8(images: ArrayLike) -> Float[Array, "*n h w 3"]:
    """Converts 8-bit RGB to ImageNet-normalized images.

    Args:
        images: (..., h, w, 3), uint8.

    Raises:
        ValueError: another type or number of channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz import images
        >>> images.to_uint8(images.from_uint8(jnp.full((1, 1, 3), 7, jnp.uint8)))
        Array([[[7, 7, 7]]], dtype=uint8)
    """
    images = images if isinstance(images, np.ndarray) else jnp.asarray(images)
    if images.dtype != jnp.uint8 or images.ndim < 3 or images.shape[-1] != 3:
        raise ValueError(f"`images` must be uint8 of shape (..., h, w, 3), got {images.dtype} {images.shape}.")
    if isinstance(images, np.ndarray):  # XLA's gather is much slower on CPU
        return jnp.asarray(_normalized(images))
    channels = lax.broadcasted_iota(jnp.int32, images.shape, images.ndim - 1)
    return jnp.asarray(_LEVELS)[images, channels]


def to_uint8(images: ArrayLike) -> UInt8[Array, "*n h w 3"]:
    """Converts ImageNet-normalized images to 8-bit RGB, clipped to the valid range and rounded to the nearest level.

    The level of a NaN is undefined; `save` raises an error for NaN.

    Args:
        images: (..., h, w, 3), floating point; bfloat16 and float16 are converted to float32 first.

    Raises:
        ValueError: another type or number of channels.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz import images
        >>> images.to_uint8(jnp.zeros((1, 1, 3)))  # the mean colour
        Array([[[124, 116, 104]]], dtype=uint8)
    """
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating) or images.ndim < 3 or images.shape[-1] != 3:
        raise ValueError(f"`images` must be floating point of shape (..., h, w, 3), got {images.dtype} {images.shape}.")
    images = images.astype(np.promote_types(images.dtype, np.float32))  # bfloat16 cannot hold all levels
    mean, std = (
        jnp.broadcast_to(jnp.asarray(values, images.dtype), images.shape) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return jnp.round(jnp.clip((images * std + mean) * 255, 0, 255)).astype(jnp.uint8)


def load(paths: PathLike | Sequence[PathLike], *, size: int = 224, resize: int = 256) -> Float[Array, "n size size 3"]:
    """Loads image files as a batch, prepared as in torchvision's evaluation transforms.

    The shorter side is resized to `resize` (bilinear, antialiased), the centre `size` x `size` is cropped, and the
    values are normalized. Orientation tags are applied. Grey, palette, CMYK and 16-bit images become 8-bit RGB.
    Transparency is dropped, as in torchvision.

    Args:
        paths: one file or several, in any format that Pillow reads.
        size: side of the crop, in pixels.
        resize: length of the shorter side before the crop, in pixels, >= `size`. With `size` = `resize` = the image's
            own side, nothing is resampled.

    Returns:
        (n, size, size, 3) float32, ImageNet-normalized RGB.

    Raises:
        ValueError: no paths, sizes out of range, or a file that is not an image, is damaged, or is too large to decode
            safely.
        OSError: a file that is missing or cannot be read.

    Example:
        >>> from importlib import resources
        >>> from jaxviz import images
        >>> images.load(resources.files("skimage.data") / "chelsea.png").shape
        (1, 224, 224, 3)
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    if not paths:
        raise ValueError("`paths` is empty; give at least one image file.")
    if not 1 <= size <= resize:
        raise ValueError(f"`size` must be in 1 to `resize` ({resize}), got {size}.")
    return from_uint8(np.stack([decode(Path(path).read_bytes(), str(path), size, resize) for path in paths]))


def save(path: PathLike, image: ArrayLike) -> None:
    """Writes one image as 8-bit RGB, in the format of the file's suffix, completely or not at all.

    PNG keeps every value. JPEG does not: a fooling image may lose its effect.

    Args:
        path: the file; replaced if it exists.
        image: (h, w, 3), ImageNet-normalized floating point, or uint8.

    Raises:
        ValueError: another shape or type, values that are not finite, a suffix that Pillow does not write.
        OSError: the folder is missing, cannot be written, or is full.

    Example:
        >>> import tempfile, pathlib
        >>> import jax.numpy as jnp
        >>> from jaxviz import images
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> images.save(folder / "mean.png", jnp.zeros((4, 4, 3)))
        >>> images.load(folder / "mean.png", size=4, resize=4).shape
        (1, 4, 4, 3)
    """
    path = Path(path)
    image = jnp.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"`image` must have shape (h, w, 3), got {image.shape}; save one image at a time.")
    if image.dtype != jnp.uint8:
        if not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(f"`image` must be uint8 or floating point, got {image.dtype}.")
        if not jnp.isfinite(image).all():
            raise ValueError("`image` has values that are not finite, so it cannot be saved.")
        image = to_uint8(image)
    # Pillow knows more suffixes than it can write
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise ValueError(f"`path` must end in a suffix that Pillow writes, such as .png, got {path.name!r}.")
    with replacing(path) as temporary:
        Image.fromarray(np.asarray(image)).save(temporary)


def shift(image: Float[Array, "h w c"], offset: Int[Array, " 2"]) -> Float[Array, "h w c"]:
    """Translates an image by (rows, columns), which may be traced; pixels wrap around."""
    return jnp.roll(image, offset, axis=(0, 1))


def blur(image: Float[Array, "h w c"], sigma: Float[Array, ""] | float) -> Float[Array, "h w c"]:
    r"""Gaussian blur along both axes, equal to `scipy.ndimage.gaussian_filter1d` (reflect, truncate 4).

    .. math:: w_k \propto e^{-k^2 / 2 \sigma^2}, \quad |k| \le \lfloor 4 \sigma + 1/2 \rfloor

    Computed as one matrix for each axis, so that `sigma` may be traced.

    Args:
        image: (h, w, c), floating point; bfloat16 and float16 are computed in float32.
        sigma: standard deviation in pixels, from 0 (no blur) to half the shorter side.

    Returns:
        (h, w, c), in the image's type.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxviz import images
        >>> images.blur(jnp.ones((4, 4, 1)), 0.5).round(3).min()
        Array(1., dtype=float32)
    """
    dtype = np.promote_types(image.dtype, np.float32)  # bfloat16 cannot represent row indices up to 300
    rows, columns = (_blur_matrix(size, jnp.asarray(sigma, dtype)) for size in image.shape[:2])
    blurred = jnp.einsum("ih,jw,hwc->ijc", rows, columns, image.astype(dtype), precision=lax.Precision.HIGHEST)
    return blurred.astype(image.dtype)


def _blur_matrix(size: int, sigma: Float[Array, ""]) -> Float[Array, "size size"]:
    radius = jnp.floor(4 * sigma + 0.5)
    here, there = jnp.arange(size)[None, :, None], jnp.arange(size)[None, None, :]
    # A reflected signal has period 2 * size: pixel `there` appears at there + m and, mirrored, at -1 - there + m.
    periods = 2 * size * jnp.arange(-2, 3)[:, None, None]
    distances = jnp.concatenate([there - here + periods, -1 - there - here + periods]).astype(sigma.dtype)
    weights = jnp.exp(-0.5 * jnp.square(distances / jnp.maximum(sigma, 1e-6)))
    weights = jnp.where(jnp.abs(distances) <= radius, weights, 0).sum(0)
    return weights / weights.sum(1, keepdims=True)
