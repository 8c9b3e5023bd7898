"""Random crops and the symmetries of the square, the same for both images of a pair.

Draws come from a generator that is handed in, or from PyTorch's own. The loader seeds the latter differently in each
worker and each epoch, and reproducibly from ``manual_seed``; BasicSR's own seeding of ``random`` repeats the same
draws every epoch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch


class Symmetries(NamedTuple):
    """Which mirrorings may be drawn, each with probability one half.

    Together the three give all eight symmetries of the square. A transposition exchanges height and width.
    """

    left_right: bool
    top_bottom: bool
    transpose: bool


def random_crop(
    lq: np.ndarray,
    gt: np.ndarray,
    size: tuple[int, int],
    *,
    scale: int = 1,
    generator: torch.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut the same random rectangle out of both images.

    Args:
        lq: (H, W, C).
        gt: (H * scale, W * scale, C).
        size: Height and width of the rectangle in pixels of ``gt``: multiples of ``scale``, at most those of ``gt``.
        scale: How many pixels of ``gt`` stand for one of ``lq``, along each side.
        generator: Where the place is drawn from; PyTorch's own by default.

    Returns:
        Views of ``lq`` and ``gt``.
    """
    height, width = size[0] // scale, size[1] // scale
    top = _draw(lq.shape[0] - height + 1, generator)
    left = _draw(lq.shape[1] - width + 1, generator)
    return (
        lq[top : top + height, left : left + width],
        gt[top * scale : (top + height) * scale, left * scale : (left + width) * scale],
    )


def random_symmetry(
    lq: np.ndarray, gt: np.ndarray, symmetries: Symmetries, *, generator: torch.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Turn or mirror both images in the same random way.

    Args:
        lq: (H, W, C).
        gt: (H', W', C).
        symmetries: Which mirrorings may be drawn.
        generator: Where they are drawn from; PyTorch's own by default.

    Returns:
        Views of ``lq`` and ``gt``.
    """
    mirror, upset, transpose = (allowed and _draw(2, generator) for allowed in symmetries)
    if mirror:
        lq, gt = lq[:, ::-1], gt[:, ::-1]
    if upset:
        lq, gt = lq[::-1], gt[::-1]
    if transpose:
        lq, gt = lq.transpose(1, 0, 2), gt.transpose(1, 0, 2)
    return lq, gt


def _draw(below: int, generator: torch.Generator | None) -> int:
    return int(torch.randint(below, (), generator=generator))
