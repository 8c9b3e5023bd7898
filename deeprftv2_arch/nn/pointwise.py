"""1x1 convolution as what it is: one matrix product over the channels of every pixel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class PointwiseConv2d(nn.Conv2d):
    """1x1 convolution that reads and writes channels-last memory.

    torch's own convolution falls back to channels-first memory for 1x1 filters on one CPU thread; the norms around it
    would then turn every map twice. Weights and results are those of ``nn.Conv2d(in_channels, out_channels, 1)``.

    Args:
        in_channels: Channels C of the input.
        out_channels: Channels K of the output.
        bias: Whether a bias is added.

    Shape:
        (N, C, H, W) -> (N, K, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
