"""Layer normalisation over the channels of an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.precision import at_least_float32


class LayerNorm(nn.LayerNorm):
    """``nn.LayerNorm`` in float32 at least, also under autocast.

    Shape:
        (*, C) -> (*, C).
    """

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(at_least_float32(x))


class LayerNorm2d(nn.Module):
    """Normalise every pixel over its channels (biased variance), then scale and shift per channel.

    Args:
        channels: Number of channels C.
        eps: Added to the variance. The published networks use 1e-6 here and 1e-5 inside the state space block.

    Shape:
        (N, C, H, W) -> (N, C, H, W), at least in float32, also under autocast. The result lies channels-last
        in memory, which the 1x1 convolutions that follow every norm of these networks read without a copy.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(at_least_float32(x).permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)
