"""Parametrizations of an image for feature visualization: what the optimizer changes, in place of pixels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from jaxviz._core.arguments import Bounds, as_bounds, as_images, as_number
from jaxviz.images import IMAGENET_BOUNDS

# Lucid's square root of the covariance of the colours of ImageNet, divided by its largest column norm. Columns: mostly
# brightness, red against blue, green against the others.
_COLORS = np.array([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]])
_COLORS /= np.linalg.norm(_COLORS, axis=0).max()


class Parametrization(NamedTuple):
    """An image as a function of parameters, for `class_visualizations`.

    Attributes:
        init: (key, (h, w, c)) -> parameters, a pytree of floating-point arrays.
        decode: parameters -> image (h, w, c), in the model's input space; differentiable. Arrays that it reads should
            be in a `jax.tree_util.Partial`, so that new values do not compile again.
    """

    init: Callable[[Array, tuple[int, ...]], Any]
    decode: Callable[[Any], Float[Array, "h w c"]]


def fourier(
    *, scale: ArrayLike = 0.01, decay: ArrayLike = 1.0, decorrelate: bool = True, bounds: Bounds = IMAGENET_BOUNDS
) -> Parametrization:
    r"""An image as its Fourier spectrum in decorrelated colours, Lucid's parametrization.

    .. math::
        x = l + (u - l) \, \sigma \left( C \, \tfrac{1}{4} \mathcal F^{-1} \left( z_f / \max(f, 1/s)^{d} \right) \right)

    with the parameters z_f, the frequencies f in cycles per pixel, the longer side s, the inverse real Fourier
    transform of orthonormal scaling, the matrix C of the colours' correlation in ImageNet, and the bounds l and u.
    A step changes low frequencies as easily as high ones, so that patterns become larger than pixel noise. Use it with
    an adaptive optimizer, such as `optax.adam(0.05)`.

    Args:
        scale: standard deviation of the initial parameters, >= 0.
        decay: d >= 0, the exponent of the frequency; 0 treats all frequencies alike.
        decorrelate: whether to apply C, for RGB images.
        bounds: (lower, upper) values of the image, each a number or one for each channel.

    Returns:
        Parametrization(init, decode).

    Raises:
        ValueError: settings out of range; on use, other than 3 channels with `decorrelate`.

    Reference:
        Olah, Mordvintsev, Schubert, Feature visualization, Distill 2017.

    Example:
        >>> import jax
        >>> import jaxviz
        >>> parametrization = jaxviz.fourier()
        >>> parameters = parametrization.init(jax.random.key(0), (64, 64, 3))
        >>> parametrization.decode(parameters).shape
        (64, 64, 3)
    """
    scale, decay = as_number(scale, float, name="scale"), as_number(decay, float, name="decay")
    decode = Partial(_decode_fourier, _pixels(decorrelate, bounds), decay)
    return Parametrization(Partial(_init_fourier, scale), decode)


def maco(
    *, photographs: ArrayLike | None = None, decorrelate: bool = True, bounds: Bounds = IMAGENET_BOUNDS
) -> Parametrization:
    r"""An image as the phase of its Fourier spectrum, with the magnitude of natural images (MACO).

    .. math::
        x = l + (u - l) \, \sigma \left( C \operatorname{standardize} \, \mathcal F^{-1} (m_f e^{i \varphi_f}) \right)

    with the parameters φ, and C, l and u as in `fourier`. The magnitude m_f is fixed, so the optimizer cannot add
    the high frequencies that make other visualizations look like noise. Use it with an adaptive optimizer, such as
    `optax.adam(1.0)`, and with a `transform` of random crops and noise.

    Args:
        photographs: (n, h, w, c), images of the size of the visualization, within `bounds`, whose mean magnitude m_f
            is; by default, 1 / f, the law of natural images. The paper takes the mean over ImageNet.
        decorrelate: whether to apply C, for RGB images.
        bounds: (lower, upper) values of the image, each a number or one for each channel.

    Returns:
        Parametrization(init, decode).

    Raises:
        ValueError: photographs of the wrong rank or type; on use, of another size than the visualization.

    Reference:
        Fel et al., Unlocking feature visualization for deeper networks with magnitude constrained optimization,
        arXiv:2306.06805.

    Example:
        >>> import jax
        >>> import jaxviz
        >>> parametrization = jaxviz.maco()
        >>> parametrization.decode(parametrization.init(jax.random.key(0), (64, 64, 3))).shape
        (64, 64, 3)
    """
    pixels = _pixels(decorrelate, bounds)
    magnitude = None
    if photographs is not None:
        photographs = as_images(photographs, name="photographs")
        magnitude = jnp.abs(jnp.fft.rfft2(jax.vmap(pixels.encode)(photographs), axes=(1, 2))).mean(0)
    return Parametrization(Partial(_init_maco, magnitude), Partial(_decode_maco, pixels, magnitude))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Spectrum:
    """Parameters of a real Fourier transform; an image's width is not that of its spectrum."""

    values: Float[Array, "..."]
    width: int = field(metadata={"static": True})


def _frequencies(height: int, width: int) -> Float[Array, "h f 1"]:
    """The frequencies of the real Fourier transform, in cycles per pixel; the lowest is that of one cycle."""
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    return jnp.asarray(np.maximum(frequencies, 1 / max(height, width))[..., None], jnp.float32)


def _init_fourier(scale: Float[Array, ""], key: Array, shape: tuple[int, ...]) -> _Spectrum:
    height, width, channels = shape
    normal = jax.random.normal(key, (2, height, width // 2 + 1, channels), jnp.float32)
    return _Spectrum(scale.astype(jnp.float32) * normal, width)


def _decode_fourier(pixels: "_Pixels", decay: Float[Array, ""], spectrum: _Spectrum) -> Float[Array, "h w c"]:
    real, imaginary = spectrum.values
    height, width = real.shape[0], spectrum.width
    scale = _frequencies(height, width) ** -decay.astype(jnp.float32)
    image = jnp.fft.irfft2(lax.complex(scale * real, scale * imaginary), (height, width), axes=(0, 1), norm="ortho")
    return pixels.decode(image / 4)


def _init_maco(magnitude: Float[Array, "h f c"] | None, key: Array, shape: tuple[int, ...]) -> _Spectrum:
    height, width, channels = shape
    spectrum = (height, width // 2 + 1, channels)
    if magnitude is not None and magnitude.shape != spectrum:
        raise ValueError(f"`photographs` must have the size of the visualization, {shape}.")
    return _Spectrum(jax.random.uniform(key, spectrum, jnp.float32, -np.pi, np.pi), width)


def _decode_maco(pixels: "_Pixels", magnitude: Float[Array, "h f c"] | None, phase: _Spectrum) -> Float[Array, "h w c"]:
    height, width = phase.values.shape[0], phase.width
    if magnitude is None:
        magnitude = 1 / _frequencies(height, width)
    spectrum = lax.complex(magnitude * jnp.cos(phase.values), magnitude * jnp.sin(phase.values))
    image = jnp.fft.irfft2(spectrum, (height, width), axes=(0, 1))
    return pixels.decode((image - image.mean()) / (image.std() + 1e-5))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Pixels:
    """Decorrelated, unbounded values as valid pixels, and the inverse."""

    lower: Float[Array, "1 1 c"]
    upper: Float[Array, "1 1 c"]
    decorrelate: bool = field(metadata={"static": True})

    def decode(self, values: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        if self.decorrelate:
            values = self._colors(values, _COLORS)
        if self.lower.shape[-1] not in (1, values.shape[-1]):
            raise ValueError(
                f"`bounds` must be numbers, or one for each of the {values.shape[-1]} channels, got "
                f"{self.lower.shape[-1]}."
            )
        return self.lower + (self.upper - self.lower) * jax.nn.sigmoid(values)

    def encode(self, image: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        levels = (image - self.lower) / (self.upper - self.lower)
        values = jax.scipy.special.logit(jnp.clip(levels, 1 / 512, 511 / 512))  # half a step of 8 bits from the ends
        return self._colors(values, np.linalg.inv(_COLORS)) if self.decorrelate else values

    def _colors(self, values: Float[Array, "h w c"], matrix: np.ndarray) -> Float[Array, "h w c"]:
        if values.shape[-1] != 3:
            raise ValueError(
                f"`decorrelate` is for RGB images, got {values.shape[-1]} channels; set `decorrelate=False`."
            )
        return jnp.matmul(values, jnp.asarray(matrix.T, values.dtype), precision="highest")


def _pixels(decorrelate: bool, bounds: Bounds) -> _Pixels:
    channels = max(np.size(bound) for bound in bounds)
    both = as_bounds(bounds, jax.ShapeDtypeStruct((1, 1, 1, channels), jnp.float32))
    assert both is not None
    return _Pixels(*both, decorrelate)
