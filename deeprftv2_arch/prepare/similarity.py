"""Whether a blurred image shows what its sharp one shows, judged by thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from deeprftv2_arch.data.image_file import FULL_SCALE

SIDE = 32
"""Side of a thumbnail in pixels: blur hardly changes it, a step of the camera does."""

_FLAT = 1e-2
"""Standard deviation, of white, below which a thumbnail says nothing."""

_CLOSE = 1e-2
"""One minus the correlation of a pair that is beyond doubt."""

_BETTER = 0.5
"""Another image must come this much closer (as a share of one minus the correlation) to be taken for the partner."""

_ROWS = 512
"""Rows of the matrix of all distances that are held in memory at a time."""


class MismatchedPair(NamedTuple):
    """A blurred image that fits another pair's sharp image much better than its own.

    Attributes:
        pair: Index of the blurred image.
        better: Index of the sharp image that it fits.
        distance, better_distance: One minus the correlation of the thumbnails, of either.
    """

    pair: int
    better: int
    distance: float
    better_distance: float


def thumbnail(image: np.ndarray) -> np.ndarray:
    """Reduce an image to a gray picture of mean 0 and norm 1; a flat image to zeros.

    Args:
        image: (H, W, 3) in BGR order, of any depth that images are decoded to.

    Returns:
        float32 (SIDE * SIDE,). The product of two is the correlation of the gray images.
    """
    white = FULL_SCALE[image.dtype]
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel() / white
    small -= small.mean()
    if small.std() < _FLAT:
        return np.zeros_like(small)
    return small / np.linalg.norm(small)


def mismatched_pairs(blur: Sequence[np.ndarray], sharp: Sequence[np.ndarray]) -> list[MismatchedPair]:
    """Find pairs that are out of order.

    Blurred image i counts as out of order if the sharp image of another pair j is at least twice as close to it as its
    own is, where the distance is one minus the correlation of the thumbnails; if its own is not close beyond doubt
    (0.01); and if it is no farther from sharp image j than blurred image j is. The last two keep apart series in which
    neighbours look alike. Images without contrast are passed over.

    Args:
        blur: Thumbnails of the blurred images.
        sharp: Thumbnails of the sharp images, in the same order.
    """
    blurred, clear = np.stack(blur), np.stack(sharp)
    own = 1 - np.einsum('ij,ij->i', blurred, clear)
    has_contrast = blurred.any(axis=1) & clear.any(axis=1)
    doubtful = np.flatnonzero(has_contrast & (own > _CLOSE))
    found = []
    for start in range(0, len(doubtful), _ROWS):
        rows = doubtful[start : start + _ROWS]
        distances = 1 - blurred[rows] @ clear.T
        best = distances.argmin(axis=1)
        for row, index, better in zip(distances, rows.tolist(), best.tolist(), strict=True):
            nearer = row[better] <= _BETTER * own[index] and row[better] <= own[better] + 1e-6
            if better != index and nearer:
                found.append(MismatchedPair(index, better, float(own[index]), float(row[better])))
    return found
