"""What a photograph is worth for training: its size, how sharp it is, and what it looks like in small."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.photograph_folder import read_photograph
from deeprftv2_arch.prepare.similarity import thumbnail

LONG_SIDE = 1152
"""What larger photographs are reduced to: it removes the traces of JPEG, noise reduction and demosaicking."""

LEAST_SIDE = 320
"""Shortest side in pixels that is taken: room for crops of 256 and the surroundings that blur in."""

SHARP_ENOUGH = 0.1
"""Least share of sharp tiles. Of 60 sharp photographs none had less than 0.24, of 5 soft ones none more than 0.09."""

_TILE = 64
_TEXTURE = 3.0  # of 255: the octave of 2 to 4 pixels of a tile that shows anything
_RATIO = 0.8  # the octave of 1 to 2 pixels relative to that; natural images have about 1.2


class Inspected(NamedTuple):
    """What is known of a photograph.

    Attributes:
        height, width: As it will be used, reduced to ``LONG_SIDE``.
        sharp: Share of its tiles that are textured and sharp.
        thumbnail: Its thumbnail.
        fault: Why it cannot be used; empty if it can.
    """

    height: int
    width: int
    sharp: float
    thumbnail: np.ndarray
    fault: str = ''


def inspect_photograph(path: Path) -> Inspected:
    """Decode a photograph, reduce it, and look at it."""
    try:
        image = read_photograph(path, LONG_SIDE)
    except DataError as error:
        return Inspected(0, 0, 0.0, np.zeros(0, np.float32), str(error))
    height, width = image.shape[:2]
    sharp = sharp_share(image)
    if min(height, width) < LEAST_SIDE:
        fault = f'too small: {width} x {height} pixels, and no side may be below {LEAST_SIDE}'
    elif sharp < SHARP_ENOUGH:
        fault = f'too soft: {sharp:.0%} of it is textured and sharp, of {SHARP_ENOUGH:.0%} needed'
    else:
        fault = ''
    return Inspected(height, width, sharp, thumbnail(image[..., ::-1]), fault)


def sharp_share(image: np.ndarray) -> float:
    """The share of tiles of 64x64 pixels that have texture whose finest octave is there.

    Args:
        image: (H, W, 3) RGB uint8.

    Returns:
        In [0, 1]. The octave of structures of 1 to 2 pixels is compared with that of 2 to 4: blur takes the first.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    once, twice = cv2.GaussianBlur(grey, (0, 0), 1), cv2.GaussianBlur(grey, (0, 0), 2)
    fine, coarse = _tile_means((grey - once) ** 2) ** 0.5, _tile_means((once - twice) ** 2) ** 0.5
    return float(np.mean((coarse > _TEXTURE) & (fine > _RATIO * coarse)))


def _tile_means(values: np.ndarray) -> np.ndarray:
    """The means over the tiles that lie wholly inside; over everything if there are none."""
    rows, columns = (max(length // _TILE, 1) for length in values.shape)
    inside = values[: rows * _TILE, : columns * _TILE]
    return cv2.resize(inside, (columns, rows), interpolation=cv2.INTER_AREA)
