"""NAFBlock: the convolutional block of every level (paper section 3.3.3; Chen et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.functional import add_feed_forward, add_pointwise, gated_features
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.pointwise import PointwiseConv2d
from deeprftv2_arch.nn.pooling import MeanPool


class NAFBlock(nn.Module):
    """Depthwise convolution with a gate and channel attention, then a gated 1x1 feed-forward pair.

    Both halves are residual and start switched off (``beta`` and ``gamma`` are zero).

    Args:
        channels: Number of channels C.
        pool_kernel: Window of the attention's mean in pixels; None takes the mean of the whole map.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, pool_kernel: int | None = None) -> None:
        super().__init__()
        self.norm1 = LayerNorm2d(channels)
        self.expand = PointwiseConv2d(channels, 2 * channels)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.pool = MeanPool(pool_kernel)
        self.attention = PointwiseConv2d(channels, channels)
        self.project = PointwiseConv2d(channels, channels)
        self.norm2 = LayerNorm2d(channels)
        self.ffn_expand = PointwiseConv2d(channels, 2 * channels)
        self.ffn_project = PointwiseConv2d(channels, channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gated, pooled = gated_features(x, self.norm1, self.expand, self.depthwise, self.pool)
        x = add_pointwise(x, gated, self.project, gain=self.beta, attention=self.attention(pooled))
        return add_feed_forward(x, self.norm2, self.ffn_expand, self.ffn_project, gain=self.gamma)
