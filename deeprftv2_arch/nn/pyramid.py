"""Gaussian image pyramid: the blurred input and the ground truth at every scale (paper section 3.2, B_n and S_n)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from deeprftv2_arch.nn.precision import without_autocast

# Binomial approximation of a Gaussian, the classical pyramid kernel of Burt and Adelson.
_TAPS = (1.0, 4.0, 6.0, 4.0, 1.0)


def halve(image: Tensor) -> Tensor:
    """Blur an image with the 5x5 binomial kernel and halve its sides.

    The border is mirrored without repeating the edge (2 pixels); sides below 3 pixels, which cannot be mirrored so far,
    repeat the edge. The blurred image is resampled bilinearly to (floor(H/2), floor(W/2)), at least 1x1; for even sides
    this is the mean of each 2x2 cell. Values are not clamped.

    Args:
        image: (N, C, H, W), any range.

    Returns:
        (N, C, max(H // 2, 1), max(W // 2, 1)).

    Source: the pyramid of the published network, equal to ``kornia.geometry.transform.pyrdown``.
    """
    channels, height, width = image.shape[-3:]
    taps = torch.tensor(_TAPS, dtype=image.dtype, device=image.device) / sum(_TAPS)
    mode = 'reflect' if min(height, width) > 2 else 'replicate'
    blurred = F.conv2d(
        F.pad(image, (2, 2, 2, 2), mode=mode), torch.outer(taps, taps).expand(channels, 1, 5, 5), groups=channels
    )
    size = (max(height // 2, 1), max(width // 2, 1))
    return F.interpolate(blurred, size=size, mode='bilinear', align_corners=False)


def image_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """Return ``levels`` images, the given one first, each half the size of the one before.

    All have the precision of the given one, also under autocast: outputs are added to them.

    Args:
        image: (N, C, H, W), any range.
        levels: How many images to return, at least 1.
    """
    pyramid = [image]
    with without_autocast(image.device):
        while len(pyramid) < levels:
            pyramid.append(halve(pyramid[-1]))
    return pyramid
