"""From pixel values to light and back, and what a sensor adds on the way.

A shaking camera averages light, not pixel values, so blur has to be applied in linear light. The sRGB transfer function
(IEC 61966-2-1) is the exact piecewise curve, not a power of 2.2.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import oaconvolve

FULL_WELL = 50_000
"""Electrons that saturate a pixel; at the white level the shot noise is 1 / sqrt(50,000) = 0.45 % of white."""

READ_NOISE = 5
"""Standard deviation of the read-out noise, in electrons."""


def srgb_to_linear(srgb: np.ndarray) -> np.ndarray:
    """The electro-optical transfer function of sRGB.

    Args:
        srgb: Pixel values in [0, 1], any shape.

    Returns:
        Linear light in [0, 1], same shape.
    """
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """The inverse of `srgb_to_linear`; light outside [0, 1] is clipped, as a camera clips it."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def blur(linear: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve an image with one kernel, without inventing anything beyond its border.

    Args:
        linear: (H, W, C) linear light.
        kernel: (k, k) with k odd.

    Returns:
        (H - k + 1, W - k + 1, C): only the pixels whose whole neighbourhood is known.
    """
    return oaconvolve(linear, kernel[..., None], mode='valid', axes=(0, 1))


def expose(linear: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the noise of a well lit exposure: Poisson shot noise and Gaussian read noise.

    Args:
        linear: Noiseless linear light in [0, 1], where 1 stands for `FULL_WELL` electrons.
        rng: Source of randomness.

    Returns:
        Noisy linear light, same shape; may leave [0, 1] slightly.
    """
    electrons = rng.poisson(np.clip(linear, 0, 1) * FULL_WELL) + rng.normal(0, READ_NOISE, linear.shape)
    return electrons / FULL_WELL


def to_uint8(srgb: np.ndarray) -> np.ndarray:
    """Quantise pixel values in [0, 1] to 8 bits."""
    return np.round(np.clip(srgb, 0, 1) * 255).astype(np.uint8)
