"""NAFBlock: the convolutional block of every level (paper section 3.3.3; Chen et al., ECCV 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.pointwise import PointwiseConv2d, PointwiseUpdate
from deeprftv2_arch.nn.pooling import MeanPool


def simple_gate(x: Tensor) -> Tensor:
    """Multiply the first half of the channels by the second: (N, 2C, H, W) -> (N, C, H, W)."""
    first, second = x.chunk(2, dim=1)
    return first * second


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
        self.project = PointwiseUpdate(channels, channels)
        self.norm2 = LayerNorm2d(channels)
        self.ffn_expand = PointwiseConv2d(channels, 2 * channels)
        self.ffn_project = PointwiseUpdate(channels, channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def gated(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the first half before the attention, and what the attention is computed from."""
        if fused.runs(x, modules=(self.norm1, self.expand, self.depthwise, self.pool)):
            gated, mean = fused.norm_expand_depthwise(
                x, self.norm1, self.expand.weight.flatten(1), self.expand.bias, self.depthwise, gates=True
            )
            return gated, mean if self.pool.takes_whole(x) else self.pool(gated)
        gated = simple_gate(self.depthwise(self.expand(self.norm1(x))))
        return gated, self.pool(gated)

    def add_attended(self, x: Tensor, gated: Tensor, pooled: Tensor, gain: Tensor) -> Tensor:
        """``x`` plus the gated features after channel attention and projection, times ``gain``."""
        return self.project(gated, x, gain, self.attention(pooled))

    def feed_forward(self, x: Tensor) -> Tensor:
        """The second half with its residual."""
        if fused.runs(x, modules=(self.norm2, self.ffn_expand, self.ffn_project)):
            return fused.feed_forward(x, self.norm2, self.ffn_expand, *self.ffn_project.scaled(self.gamma))
        return self.ffn_project(simple_gate(self.ffn_expand(self.norm2(x))), x, self.gamma)

    def forward(self, x: Tensor) -> Tensor:
        return self.feed_forward(self.add_attended(x, *self.gated(x), self.beta))
