"""Random camera shake: a trajectory of the image on the sensor, and the blur kernel that it draws.

The model follows Boracchi and Foi, "Modeling the Performance of Image Restoration from Motion Blur", IEEE Transactions
on Image Processing 21(8), 2012: a particle moves at constant speed while its direction is disturbed by a Gaussian
tremor, by a pull towards the place it started from, and by rare impulses (the press of the shutter) that nearly turn it
round. Where the particle lingers the kernel is bright.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.distance import pdist

STEPS = 256
"""Samples of a trajectory, close enough together to leave no gap in a kernel of a few dozen pixels."""


def trajectory(extent: float, rng: np.random.Generator) -> np.ndarray:
    """Draw one random trajectory.

    Args:
        extent: Largest distance between two points of the path, in pixels, > 0.
        rng: Source of randomness.

    Returns:
        (STEPS, 2) positions (y, x) in pixels, their mean at the origin.
    """
    tremor = 0.2 * rng.uniform()
    pull = 0.7 * tremor * rng.uniform()
    impulse_chance = 0.02 * rng.uniform()

    heading = rng.uniform(0, 2 * math.pi)
    velocity = np.array([math.sin(heading), math.cos(heading)])
    position = np.zeros(2)
    path = np.empty((STEPS, 2))
    for step in range(STEPS):
        path[step] = position
        change = tremor * rng.normal(size=2) - pull * position / STEPS
        if rng.uniform() < impulse_chance:
            change += 2 * tremor * rng.normal(size=2) - 1.8 * velocity
        velocity = velocity + change
        velocity /= np.linalg.norm(velocity)
        position = position + velocity
    path *= extent / pdist(path).max()
    return path - path.mean(axis=0)


def rasterise(path: np.ndarray, size: int) -> np.ndarray:
    """Spread a trajectory over pixels with bilinear weights.

    Bilinear weights keep the first moment, so the centroid of the kernel is exactly the mean of the path.

    Args:
        path: (n, 2) positions (y, x) relative to the centre of the kernel.
        size: Side of the kernel, odd and large enough for the path.

    Returns:
        (size, size) float64 kernel, >= 0, sum 1.

    Raises:
        ValueError: If the path leaves the kernel.
    """
    if np.abs(path).max() > size // 2:
        raise ValueError(f'a path that reaches {np.abs(path).max():.1f} pixels does not fit into {size} x {size}')
    kernel = np.zeros((size + 1, size + 1))
    corner = np.floor(path + size // 2).astype(int)
    fraction = path + size // 2 - corner
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - fraction[:, 0]) * np.abs(1 - dx - fraction[:, 1])
            np.add.at(kernel, (corner[:, 0] + dy, corner[:, 1] + dx), weight)
    return kernel[:size, :size] / len(path)


def random_kernel(extents: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw a blur kernel whose extent is uniform in a range.

    Args:
        extents: Smallest and largest extent in pixels.
        rng: Source of randomness.

    Returns:
        (k, k) kernel, k = 2 * ceil(largest extent) + 1 whatever was drawn, so that all kernels have one size.
    """
    size = 2 * math.ceil(extents[1]) + 1
    return rasterise(trajectory(rng.uniform(*extents), rng), size)
