"""Continuing maps beyond their borders by mirroring, whatever their size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def mirrored(x: Tensor, top: int, bottom: int, left: int, right: int) -> Tensor:
    """Continue (N, C, H, W) maps by mirroring without repeating the edge.

    As torch's ``reflect``, but a margin may be wider than the map, which is then mirrored again and again.

    Args:
        x: (N, C, H, W), at least one pixel.
        top, bottom, left, right: Pixels to add at each side.
    """
    height, width = x.shape[-2:]
    if max(top, bottom) < height and max(left, right) < width:
        return F.pad(x, (left, right, top, bottom), mode='reflect')
    rows = _source(height, top, bottom, x.device)
    columns = _source(width, left, right, x.device)
    return x[..., rows[:, None], columns]


def _source(length: int, before: int, after: int, device: torch.device) -> Tensor:
    """Which pixel of an axis each pixel of the continued one repeats."""
    period = max(2 * (length - 1), 1)
    index = torch.arange(-before, length + after, device=device) % period
    return torch.minimum(index, period - index) if length > 1 else index
