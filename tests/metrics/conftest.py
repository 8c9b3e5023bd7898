"""Pairs of images to compare."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.fixture
def photographs() -> tuple[np.ndarray, np.ndarray]:
    """A picture and a blurred, noisy, shifted copy of it: uint8 (72, 93, 3)."""
    rng = np.random.default_rng(0)
    sharp = cv2.resize(rng.integers(0, 256, (18, 24, 3), np.uint8), (93, 72), interpolation=cv2.INTER_CUBIC)
    restored = cv2.GaussianBlur(np.roll(sharp, 1, axis=1), (0, 0), 1.2) + rng.normal(0, 4, sharp.shape)
    return restored.round().clip(0, 255).astype(np.uint8), sharp


@pytest.fixture
def as_unit() -> callable:
    """From BasicSR's BGR bytes to RGB in [0, 1], by hand."""
    return lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float64) / 255
