"""Metrics that compare pixel by pixel: PSNR and mean absolute error before quantization."""

from __future__ import annotations

import math

import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.metrics.info import as_rgb, metric_info, require_equal_shapes


def psnr(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Compute the peak signal-to-noise ratio, 10 log10(1 / MSE), over all pixels and channels.

    >>> sharp = np.full((4, 4, 3), 0.5)
    >>> round(psnr(sharp + 1 / 255, sharp), 4)
    48.1308

    Args:
        restored: Floating point image in [0, 1], any shape.
        sharp: Image of the same shape.

    Returns:
        Decibels; infinite for equal images. An error of 1/255 everywhere is 48.1308 dB.

    Raises:
        ValueError: If the shapes differ.

    Source: DPDD as Restormer and the works before it score it. On images rounded to 8 bits this is BasicSR's
    ``calculate_psnr``.
    """
    require_equal_shapes(restored, sharp)
    error = float(np.mean(np.square(np.subtract(restored, sharp, dtype=np.float64))))
    return math.inf if error == 0 else -10 * math.log10(error)


def mean_absolute_error(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Compute the mean of the absolute difference over all pixels and channels.

    >>> mean_absolute_error(np.full((4, 4, 3), 0.75), np.full((4, 4, 3), 0.5))
    0.25

    Args:
        restored: Floating point image in [0, 1], any shape.
        sharp: Image of the same shape.

    Returns:
        A number in [0, 1]; 0 for equal images.

    Raises:
        ValueError: If the shapes differ.

    Source: MAE of the defocus tables (DPDD).
    """
    require_equal_shapes(restored, sharp)
    return float(np.mean(np.abs(np.subtract(restored, sharp, dtype=np.float64))))


@METRIC_REGISTRY.register()
@metric_info(unquantized=True)
def calculate_psnr_float(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, better: str = 'higher') -> float:
    """:func:`psnr` of two images in BasicSR's form, see :func:`~deeprftv2_arch.metrics.info.as_rgb`.

    ``better`` is for BasicSR, which reads it from the option file, as in the other metrics.
    """
    return psnr(*as_rgb(img, img2, crop_border))


@METRIC_REGISTRY.register()
@metric_info(better='lower', unquantized=True)
def calculate_mae(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, better: str = 'lower') -> float:
    """:func:`mean_absolute_error` of two images in BasicSR's form."""
    return mean_absolute_error(*as_rgb(img, img2, crop_border))
