"""Windows of whole images: the overlapping grid that training crops are cut on, and the filter of DPDD."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np

from deeprftv2_arch.nn.windows import window_starts

_KERNEL_SIZES = (3, 7, 11, 15)
"""Sides of the Sobel filters in the published selection of DPDD's crops."""


@dataclass(frozen=True)
class Crops:
    """The grid of crops of an image.

    Attributes:
        size: Side of a crop in pixels.
        step: Distance between two neighbours; the last of a row or column ends at the border.
        drop: Share of the crops of an image to leave out, those with the least detail.
    """

    size: int
    step: int
    drop: float = 0.0

    def count(self, height: int, width: int) -> int:
        """Count the crops of an image of this size."""
        total = len(windows(height, width, self.size, self.step))
        return total - int(self.drop * total)


def windows(height: int, width: int, size: int, step: int) -> list[tuple[int, int]]:
    """List top and left of each window, row by row.

    The last window of a row or column ends at the border.

    >>> windows(4, 7, size=4, step=2)
    [(0, 0), (0, 2), (0, 3)]

    Raises:
        ValueError: If the image is smaller than a window.
    """
    if min(height, width) < size:
        raise ValueError(f'{width} x {height} pixels are smaller than a crop of {size} x {size}')
    tops = window_starts(height, size, overlap=size - step)
    lefts = window_starts(width, size, overlap=size - step)
    return list(itertools.product(tops, lefts))


def chosen_windows(sharp: np.ndarray, crops: Crops) -> list[tuple[int, int]]:
    """List the windows of an image that are kept.

    With ``drop`` this is the selection published with DPDD (Abuolaim and Brown, ECCV 2020) and used since: for Sobel
    filters of four sizes the gradient's length is summed over each window of the sharp image, each of the four sums is
    stretched to [0, 1] over the windows of the image, and those with the lowest products are dropped.

    Args:
        sharp: (H, W, 3) in BGR order, 8 or 16 bit.
        crops: Size, step, and share to drop.

    Returns:
        Top and left of each window kept, row by row.
    """
    height, width = sharp.shape[:2]
    grid = windows(height, width, crops.size, crops.step)
    dropped = int(crops.drop * len(grid))
    if dropped == 0:
        return grid
    gray = cv2.cvtColor(sharp, cv2.COLOR_BGR2GRAY)
    detail = np.ones(len(grid))
    for kernel_size in _KERNEL_SIZES:
        sums = []
        for top, left in grid:
            patch = gray[top : top + crops.size, left : left + crops.size]
            sums.append(_gradient_sum(patch, kernel_size))
        detail *= _stretch(np.array(sums))
    kept = np.sort(np.argsort(detail, kind='stable')[dropped:])
    return [grid[index] for index in kept]


def _gradient_sum(patch: np.ndarray, kernel_size: int) -> float:
    across = cv2.Sobel(patch, cv2.CV_64F, 1, 0, ksize=kernel_size)
    down = cv2.Sobel(patch, cv2.CV_64F, 0, 1, ksize=kernel_size)
    return float(np.sqrt(across**2 + down**2).sum())


def _stretch(values: np.ndarray) -> np.ndarray:
    span = np.ptp(values)
    if span == 0:
        return np.ones_like(values)
    return (values - values.min()) / span
