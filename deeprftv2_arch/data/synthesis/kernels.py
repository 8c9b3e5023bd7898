"""Blur kernels: >= 0, of sum one, with their centroid at the central pixel, so that blur moves nothing."""

from __future__ import annotations

import math

import cv2
import numpy as np


def kernel_of_path(path: np.ndarray) -> np.ndarray:
    """Spread a path over pixels with bilinear weights.

    Bilinear weights keep the first moment, so the centroid of the kernel is exactly the mean of the path.

    Args:
        path: (n, 2) positions (y, x) relative to the centre of the kernel.

    Returns:
        (k, k) float64 kernel with the smallest odd k that holds the path.
    """
    radius = math.ceil(np.abs(path).max())
    size = 2 * radius + 1
    kernel = np.zeros((size + 1, size + 1))
    corner = np.floor(path + radius).astype(int)
    fraction = path + radius - corner
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - fraction[:, 0]) * np.abs(1 - dx - fraction[:, 1])
            np.add.at(kernel, (corner[:, 0] + dy, corner[:, 1] + dx), weight)
    return kernel[:size, :size] / len(path)


def disc(radius: float, rim: float) -> np.ndarray:
    """The image of a point that is out of focus: an even disc whose brightness falls linearly at the rim.

    Args:
        radius: Where the brightness has fallen to one half, in pixels, > 0.
        rim: Width of the fall relative to the radius, in [0, 1]; no fall is steeper than over one pixel.

    Returns:
        (k, k) float64 kernel, k odd.
    """
    width = max(rim * radius, 1.0)
    half = math.ceil(radius + width / 2)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.clip((radius - np.hypot(y, x)) / width + 0.5, 0, 1)
    return kernel / kernel.sum()


def convolve(image: np.ndarray, kernel: np.ndarray, margin: int) -> np.ndarray:
    """Convolve an image and cut its margin off.

    Args:
        image: (H + 2 * margin, W + 2 * margin, C) or without the last axis, float32.
        kernel: (k, k), k odd and at most 2 * margin + 1.
        margin: Pixels on each side that only serve as surroundings.

    Returns:
        (H, W, C): correct up to the border.
    """
    cut = margin - kernel.shape[0] // 2
    rows, columns = (slice(cut, length - cut) for length in image.shape[:2])
    # OpenCV correlates: turned by half, the kernel is convolved with.
    blurred = cv2.filter2D(image[rows, columns], -1, kernel[::-1, ::-1].astype(np.float32))
    return trim(blurred, margin - cut)


def trim(image: np.ndarray, margin: int) -> np.ndarray:
    """Cut ``margin`` pixels off every side."""
    return image[margin : image.shape[0] - margin, margin : image.shape[1] - margin]


def centred(kernel: np.ndarray, size: int) -> np.ndarray:
    """Surround a kernel (k, k) by zeros up to (size, size), both odd."""
    return np.pad(kernel, (size - kernel.shape[0]) // 2)
