"""Random crops and the eight symmetries of the square, the same for every image of a pair.

All draws come from PyTorch's generator. The loader seeds it differently in each worker and each epoch, and
reproducibly from ``manual_seed``; the toolbox's own seeding of ``random`` repeats the same draws every epoch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def random_crop(images: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Cut the same random square out of each image.

    Args:
        images: Arrays (H, W, C) of the same height and width, both at least ``size``.
        size: Side of the square in pixels.

    Returns:
        Views (size, size, C).
    """
    height, width = images[0].shape[:2]
    top, left = _draw(height - size + 1), _draw(width - size + 1)
    return [image[top : top + size, left : left + size] for image in images]


def random_symmetry(images: Sequence[np.ndarray], *, flip: bool, rotate: bool) -> list[np.ndarray]:
    """Turn or mirror each image in the same random way.

    Args:
        images: Arrays (H, W, C).
        flip: Whether to mirror left and right.
        rotate: Whether to mirror top and bottom, and to transpose. With ``flip``, all eight symmetries of the square
            are equally likely.

    Returns:
        Views (H, W, C) or (W, H, C).
    """
    mirror, upset, transpose = flip and _draw(2), rotate and _draw(2), rotate and _draw(2)
    if mirror:
        images = [image[:, ::-1] for image in images]
    if upset:
        images = [image[::-1] for image in images]
    if transpose:
        images = [image.transpose(1, 0, 2) for image in images]
    return list(images)


def _draw(below: int) -> int:
    return int(torch.randint(below, ()))
