"""What a camera does to light: sRGB and back, highlights that clip, noise, JPEG. All images are RGB."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings


def srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Invert the transfer curve of sRGB (IEC 61966-2-1), [0, 1] to [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: np.ndarray) -> np.ndarray:
    """Apply the transfer curve of sRGB (IEC 61966-2-1), float32 [0, 1] to [0, 1]."""
    root = cv2.pow(np.ascontiguousarray(values), 1 / 2.4).reshape(values.shape)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * root - 0.055)


_LINEAR = srgb_to_linear(np.arange(256) / 255).astype(np.float32)


def decode_light(image: np.ndarray) -> np.ndarray:
    """Linear light, float32 in [0, 1], of an 8-bit sRGB image."""
    return _LINEAR[image]


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Round values in [0, 1] to 8 bits."""
    return np.rint(values * 255).astype(np.uint8)


def brighten_highlights(light: np.ndarray, start: float, gain: float) -> np.ndarray:
    """Undo the clipping of lamps and reflections: the nearer to white, the brighter they are taken to have been.

    Args:
        light: (H, W, 3) linear light in [0, 1].
        start: sRGB value in [0, 1) of the brightest channel from which on pixels are made brighter.
        gain: Factor for white.

    Returns:
        (H, W, 3), >= ``light``.
    """
    first = float(srgb_to_linear(np.array(start)))
    # Ten times as fast as the maximum over an axis of three.
    brightest = np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])
    share = np.clip((brightest - first) / (1 - first), 0, 1)
    return light * (1 + (gain - 1) * share)[..., None]


@dataclass(frozen=True)
class Camera:
    """One way to take a photograph.

    Attributes:
        highlight_gain: How much brighter white was before it clipped.
        noise_gain: Variance of the photon noise at white.
        read_noise: Standard deviation of the noise in the dark.
        jpeg_quality: Quality of the JPEG, or None for none.
    """

    highlight_gain: float
    noise_gain: float
    read_noise: float
    jpeg_quality: int | None

    def expose(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Take the photograph: noise, clipping, transfer curve, 8 bits, JPEG.

        Args:
            light: (H, W, 3) linear light >= 0, 1 for white; more clips.
            rng: Source of the noise.

        Returns:
            (H, W, 3) uint8.
        """
        # Photon noise is Poisson's; with thousands of photons it is Gaussian.
        deviation = cv2.sqrt(self.noise_gain * light + self.read_noise**2).reshape(light.shape)
        noisy = light + deviation * rng.standard_normal(light.shape, np.float32)
        picture = to_uint8(linear_to_srgb(np.clip(noisy, 0, 1)))
        return picture if self.jpeg_quality is None else through_jpeg(picture, self.jpeg_quality)


def draw_camera(settings: BlurSettings, rng: np.random.Generator) -> Camera:
    """Draw a camera from the ranges."""
    noise_gain = _draw_magnitude(settings.noise_gain, rng)
    read_noise = _draw_magnitude(settings.read_noise, rng)
    highlight_gain = rng.uniform(*settings.highlight_gain)
    quality = round(rng.uniform(*settings.jpeg_quality))
    is_jpeg = rng.uniform() < settings.jpeg_share
    return Camera(highlight_gain, noise_gain, read_noise, quality if is_jpeg else None)


def _draw_magnitude(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw evenly in the logarithm; zero where the limits are zero."""
    drawn = rng.uniform()
    return limits[0] * (limits[1] / limits[0]) ** drawn if limits[0] else 0.0


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode and decode an RGB uint8 image, with the chroma at half resolution as cameras have it."""
    _, data = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
