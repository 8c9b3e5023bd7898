"""Random camera shake: the path of the image on the sensor.

The model follows Boracchi and Foi, "Modeling the Performance of Image Restoration from Motion Blur", IEEE Transactions
on Image Processing 21(8), 2012: a particle moves at constant speed while its direction is disturbed by a Gaussian
tremor, by a pull towards the place it started from, and by rare impulses (the press of the shutter) that nearly turn it
round. Where the particle lingers the kernel is bright.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings

STEPS = 256
"""Samples of a path, close enough together to leave no gap in a kernel of a few dozen pixels."""


class Shake(NamedTuple):
    """How a hand shakes; see :class:`BlurSettings` for the meaning of each number."""

    tremor: float
    pull: float
    impulse: float


def draw_shake(settings: BlurSettings, rng: np.random.Generator) -> Shake:
    """Draw how one hand shakes."""
    tremor = rng.uniform(*settings.shake_tremor)
    return Shake(tremor, tremor * rng.uniform(*settings.shake_pull), rng.uniform(*settings.shake_impulse))


def draw_path(extent: float, shake: Shake, rng: np.random.Generator) -> np.ndarray:
    """Draw one random path.

    Args:
        extent: Largest distance between two points of the path, in pixels, >= 0.
        shake: How the hand shakes.
        rng: Source of randomness.

    Returns:
        (STEPS, 2) positions (y, x) in pixels, evenly spaced in time, their mean at the origin.
    """
    heading = rng.uniform(0, 2 * math.pi)
    # Plain numbers: arrays of two would take ten times as long.
    changes = (shake.tremor * rng.standard_normal((STEPS, 2))).tolist()
    jolts = (2 * shake.tremor * rng.standard_normal((STEPS, 2))).tolist()
    is_jolt = (rng.uniform(size=STEPS) < shake.impulse).tolist()
    pull = shake.pull / STEPS
    speed_y, speed_x = math.sin(heading), math.cos(heading)
    y = x = 0.0
    positions = []
    for step in range(STEPS):
        positions.append((y, x))
        change_y = changes[step][0] - pull * y
        change_x = changes[step][1] - pull * x
        if is_jolt[step]:
            change_y += jolts[step][0] - 1.8 * speed_y
            change_x += jolts[step][1] - 1.8 * speed_x
        speed_y += change_y
        speed_x += change_x
        speed = math.hypot(speed_y, speed_x)
        speed_y /= speed
        speed_x /= speed
        y += speed_y
        x += speed_x
    path = np.array(positions)
    path -= path.mean(axis=0)
    return path * (extent / path_extent(path))


def path_extent(path: np.ndarray) -> float:
    """The largest distance between two points of a path (n, 2)."""
    squares = np.einsum('nd,nd->n', path, path)
    distances = squares[:, None] + squares[None] - 2 * path @ path.T
    return math.sqrt(max(float(distances.max()), 0.0))


def path_length(path: np.ndarray) -> float:
    """The length of a path (n, 2) from its first point to its last."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
