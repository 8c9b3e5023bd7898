"""Bicubic interpolation as a network: the first row of every super-resolution table."""

from __future__ import annotations

from typing import Any

import torch
from basicsr.utils.matlab_functions import imresize
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn


@ARCH_REGISTRY.register()
class Bicubic(nn.Module):
    """Enlarges as MATLAB's ``imresize`` does. It has no parameters and needs no checkpoint.

    It interpolates the RGB image of a data set, which has 8 bits, and the luma is taken of what comes out. Published
    bicubic values interpolate the luma, from a small image that was never rounded, and are a little lower: Set5 x2
    33.66/0.9299, where this network on small images made from the same files gives 33.68/0.9304. To see the published
    ones, run ``deeprftv2 metrics --set5 DIR``.

    Args:
        upscale: Factor of height and width, a whole number.
        _ignored: Arguments of other networks, so that any test file works with ``--set network_g.type=Bicubic``.

    Shape:
        (N, K, H, W) -> (N, K, upscale * H, upscale * W), not clamped.

    Raises:
        ValueError: If the factor is less than 1.
    """

    test_mode = 'bicubic on 8-bit RGB; published figures enlarge unrounded luma and are a little lower'

    def __init__(self, upscale: int, **_ignored: Any) -> None:
        super().__init__()
        if upscale < 1:
            raise ValueError(f'upscale must be at least 1, got {upscale}')
        self.upscale = upscale

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge every image, on the CPU."""
        return torch.stack([imresize(image, self.upscale) for image in x.float().cpu()]).to(x)
