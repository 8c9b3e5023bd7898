"""PSNR and SSIM of RealBlur, whose sharp photographs were taken by a second camera: align first, then compare."""

from __future__ import annotations

import functools
import math
import warnings
from typing import NamedTuple

import cv2
import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.metrics.info import MetricWarning, as_rgb, metric_info, require_equal_shapes, require_size

_STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0)
_SSIM_BORDER = 5
_ECC_SMOOTHING = 5
"""Side of the Gaussian filter before the alignment, OpenCV's default."""


class Aligned(NamedTuple):
    """A restored image in the place and brightness of its sharp one.

    Attributes:
        restored: float32 (H, W, 3), warped; 0 where ``mask`` is 0.
        sharp: float32 (H, W, 3); 0 where ``mask`` is 0.
        mask: float32 (H, W, 3), 1 where the warped image is known, else 0.
        converged: False if no alignment was found; then nothing is warped and the mask is 1 everywhere.
    """

    restored: np.ndarray
    sharp: np.ndarray
    mask: np.ndarray
    converged: bool


def align(restored: np.ndarray, sharp: np.ndarray) -> Aligned:
    """Match brightness by one factor, then position by the homography with the largest enhanced correlation (ECC).

    Args:
        restored: RGB (H, W, 3) in [0, 1].
        sharp: Image of the same shape.

    Returns:
        See :class:`Aligned`. Values are not clipped.

    Raises:
        ValueError: If the images are not (H, W, 3) or differ in shape.

    Source: ``evaluation_RealBlur_ecc.py`` of the authors of RealBlur. Theirs stops where ECC does not converge; like
    the released DeepRFTv2, this then compares unaligned.
    """
    require_equal_shapes(restored, sharp)
    if restored.ndim != 3 or restored.shape[2] != 3:
        raise ValueError(f'expected an image (H, W, 3), got {restored.shape}')
    x, z = np.ascontiguousarray(sharp, np.float32), np.ascontiguousarray(restored, np.float32)
    energy = np.sum(z * z, dtype=np.float64)
    if energy > 0:
        z = z * np.float32(np.sum(x * z, dtype=np.float64) / energy)
    ones = np.ones_like(x)
    grey_x, grey_z = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), cv2.cvtColor(z, cv2.COLOR_RGB2GRAY)
    no_warp = np.eye(3, dtype=np.float32)
    everywhere = np.full(grey_x.shape, 255, np.uint8)
    try:
        _, warp = cv2.findTransformECC(
            grey_x, grey_z, no_warp, cv2.MOTION_HOMOGRAPHY, _STOP, everywhere, _ECC_SMOOTHING
        )
    except cv2.error:
        return Aligned(z, x, ones, converged=False)
    size = x.shape[1::-1]
    moved = cv2.warpPerspective(
        z, warp, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT
    )
    mask = cv2.warpPerspective(ones, warp, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    return Aligned(moved * mask, x * mask, mask, converged=True)


def aligned_psnr(pair: Aligned) -> float:
    """Compute PSNR in decibels over the part that the warped image covers; infinite for equal images.

    Source: as :func:`align`.
    """
    error = np.sum(np.square(pair.sharp - pair.restored), dtype=np.float64) / np.sum(pair.mask, dtype=np.float64)
    return math.inf if error == 0 else -10 * math.log10(error)


def aligned_ssim(pair: Aligned) -> float:
    """Compute structural similarity per channel over the covered part, with a Gaussian window of 11 x 11 and sigma 1.5.

    5 pixels at every edge are left out.

    Raises:
        ValueError: If the images are smaller than a window.

    Source: as :func:`align`.
    """
    require_size(pair.sharp, 2 * _SSIM_BORDER + 1)
    from skimage.metrics import structural_similarity  # only then: it takes a second to import

    _, similarity = structural_similarity(
        pair.sharp.astype(np.float64),
        pair.restored.astype(np.float64),
        data_range=1,
        channel_axis=2,
        gaussian_weights=True,
        use_sample_covariance=False,
        full=True,
    )
    inner = slice(_SSIM_BORDER, -_SSIM_BORDER)
    mask = pair.mask[inner, inner]
    return float(np.mean(np.sum(similarity[inner, inner] * mask, axis=(0, 1)) / np.sum(mask, axis=(0, 1))))


@METRIC_REGISTRY.register()
@metric_info()
def calculate_psnr_aligned(img: np.ndarray, img2: np.ndarray, better: str = 'higher') -> float:
    """:func:`aligned_psnr` of two images in BasicSR's form, aligned first.

    Warns with :class:`~deeprftv2_arch.metrics.info.MetricWarning` where no alignment is found.
    """
    return aligned_psnr(_align_images(img, img2))


@METRIC_REGISTRY.register()
@metric_info()
def calculate_ssim_aligned(img: np.ndarray, img2: np.ndarray, better: str = 'higher') -> float:
    """:func:`aligned_ssim` of two images in BasicSR's form, aligned first; warns as `calculate_psnr_aligned`."""
    return aligned_ssim(_align_images(img, img2))


def _align_images(img: np.ndarray, img2: np.ndarray) -> Aligned:
    require_equal_shapes(img, img2)
    pair = _align_bytes(img.tobytes(), img2.tobytes(), img.shape, img.dtype.str)
    if not pair.converged:
        warnings.warn('ECC found no alignment; compared unaligned', MetricWarning, stacklevel=3)
    return pair


@functools.lru_cache(maxsize=1)
def _align_bytes(restored: bytes, sharp: bytes, shape: tuple[int, ...], dtype: str) -> Aligned:
    """Align once for both metrics; it takes seconds."""
    img = np.frombuffer(restored, dtype).reshape(shape)
    img2 = np.frombuffer(sharp, dtype).reshape(shape)
    return align(*as_rgb(img, img2))
