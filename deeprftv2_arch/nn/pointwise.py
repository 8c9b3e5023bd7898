"""1x1 convolution as what it is: one matrix product over the channels of every pixel."""

from __future__ import annotations

from torch import Tensor, nn

from deeprftv2_arch.nn import functional


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
        return functional.pointwise(x, self.weight.flatten(1), self.bias)


class PointwiseFusion(PointwiseConv2d):
    """1x1 convolution of maps side by side: ``convolution(cat(maps))``.

    Shape:
        (N, C_1, H, W), (N, C_2, H, W), ... with C_1 + C_2 + ... = C -> (N, K, H, W).
    """

    def forward(self, *maps: Tensor) -> Tensor:
        return functional.pointwise_of_all(maps, self.weight.flatten(1), self.bias)
