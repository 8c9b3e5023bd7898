"""The photographs of the demo: colour pictures inside the scikit-image package, so nothing is downloaded.

The two motorcycle pictures show one scene, so both are for training. No picture, and no crop of one, is on both sides.
"""

from __future__ import annotations

import cv2
import numpy as np
from skimage import data

from deeprftv2_arch.data.synthesis.camera import decode_light

TRAINING = ('astronaut', 'motorcycle_left', 'motorcycle_right')
HELD_ASIDE = ('chelsea', 'coffee', 'rocket')

DETAIL = {'chelsea': (0.37, 0.45), 'coffee': (0.62, 0.55), 'rocket': (0.45, 0.5)}
"""Centre (y, x) of the square that the picture shows, as fractions of height and width."""


def load(name: str) -> np.ndarray:
    """Read a photograph.

    Args:
        name: One of `TRAINING` or `HELD_ASIDE`.

    Returns:
        (H, W, 3) RGB, uint8.
    """
    if name.startswith('motorcycle'):
        left, right, _ = data.stereo_motorcycle()
        return left if name.endswith('left') else right
    return getattr(data, name)()


def load_linear(name: str) -> np.ndarray:
    """Read a photograph as linear light, (H, W, 3) RGB in [0, 1]."""
    return decode_light(load(name))


def shrink(linear: np.ndarray, factor: float) -> np.ndarray:
    """Average light over larger pixels; gives sharper pictures of the same scene to train on.

    Args:
        linear: (H, W, 3) linear light.
        factor: New side over old side, in (0, 1].

    Returns:
        (round(H * factor), round(W * factor), 3) linear light.
    """
    height, width = (round(side * factor) for side in linear.shape[:2])
    return cv2.resize(linear, (width, height), interpolation=cv2.INTER_AREA)
