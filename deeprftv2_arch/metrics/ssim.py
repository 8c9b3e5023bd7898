"""Structural similarity in two of the forms that published tables use under that one name.

The other two are BasicSR's ``calculate_ssim``, per channel or on luma, and RealBlur's, which is in `realblur`.
"""

from __future__ import annotations

import cv2
import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY
from scipy.ndimage import correlate1d

from deeprftv2_arch.metrics.info import as_rgb, metric_info, require_equal_shapes, require_size

_WINDOW = cv2.getGaussianKernel(11, 1.5).ravel()
_C1, _C2 = 0.01**2, 0.03**2


def ssim_3d(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Compute the structural similarity of two colour images taken as volumes of height, width and channel.

    >>> flat = np.full((16, 16, 3), 0.5)
    >>> round(ssim_3d(flat, flat), 6)  # equal images
    1.0
    >>> round(ssim_3d(flat / 2, flat), 4)  # the same structure, darker: (2ab + C) / (a² + b² + C)
    0.8001

    MATLAB's ``ssim(A, B)`` on RGB images: one Gaussian window of 11 x 11 x 11 with sigma 1.5, so that channels are
    averaged with their neighbours, edges replicated, nothing cropped, mean over the whole map. It lies well above the
    similarity per channel.

    Args:
        restored: Floating point (H, W, C) in [0, 1]; RGB and BGR give the same.
        sharp: Image of the same shape.

    Returns:
        A number of at most 1, which is reached by equal images.

    Raises:
        ValueError: If the images are not (H, W, C) or differ in shape.

    Source: the evaluation of GoPro, HIDE and REDS in MPRNet, Restormer (MATLAB), NAFNet and the released DeepRFTv2.
    """
    require_equal_shapes(restored, sharp)
    if restored.ndim != 3:
        raise ValueError(f'expected an image (H, W, C), got {restored.shape}')
    across = correlate1d(np.eye(restored.shape[2]), _WINDOW, axis=0, mode='nearest')

    def smooth(volume: np.ndarray) -> np.ndarray:
        plane = cv2.sepFilter2D(volume, cv2.CV_64F, _WINDOW, _WINDOW, borderType=cv2.BORDER_REPLICATE)
        return plane.reshape(volume.shape) @ across.T

    x, y = (np.ascontiguousarray(image, np.float64) for image in (restored, sharp))
    mean_x, mean_y = smooth(x), smooth(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance, variances = smooth(x * y) - product, smooth(x**2 + y**2) - squares
    similarity = (2 * product + _C1) * (2 * covariance + _C2) / ((squares + _C1) * (variances + _C2))
    return float(similarity.mean())


def ssim_uniform(restored: np.ndarray, sharp: np.ndarray) -> float:
    """Compute structural similarity per channel in uniform windows of 7 x 7: scikit-image's defaults.

    Args:
        restored: Floating point (H, W, C) in [0, 1], at least 7 pixels high and wide.
        sharp: Image of the same shape.

    Returns:
        A number of at most 1, which is reached by equal images.

    Raises:
        ValueError: If the images differ in shape or are too small.

    Source: DPDD as DPDNet, IFAN and Restormer score it.
    """
    require_equal_shapes(restored, sharp)
    require_size(restored, 7)
    # In float64, as scikit-image computed whatever it was given when these scripts were written.
    x, y = (np.asarray(image, np.float64) for image in (restored, sharp))
    from skimage.metrics import structural_similarity  # only then: it takes a second to import

    return float(structural_similarity(x, y, data_range=1, channel_axis=2))


@METRIC_REGISTRY.register()
@metric_info()
def calculate_ssim_3d(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, better: str = 'higher') -> float:
    """:func:`ssim_3d` of two images in BasicSR's form, see :func:`~deeprftv2_arch.metrics.info.as_rgb`."""
    return ssim_3d(*as_rgb(img, img2, crop_border))


@METRIC_REGISTRY.register()
@metric_info(unquantized=True)
def calculate_ssim_uniform(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, better: str = 'higher') -> float:
    """:func:`ssim_uniform` of two images in BasicSR's form."""
    return ssim_uniform(*as_rgb(img, img2, crop_border))
