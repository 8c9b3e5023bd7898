"""1x1 convolution as what it is: one matrix product over the channels of every pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.precision import autocasts_to_half


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
        if fused.runs(x):
            return fused.linear(x, self.weight.flatten(1), self.bias)
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class PointwiseFusion(PointwiseConv2d):
    """1x1 convolution of maps side by side: ``convolution(cat(maps))``.

    Shape:
        (N, C_1, H, W), (N, C_2, H, W), ... with C_1 + C_2 + ... = C -> (N, K, H, W).
    """

    def forward(self, *maps: Tensor) -> Tensor:
        if not fused.runs(*maps) or self.out_channels % fused.LANES:
            return super().forward(torch.cat(maps, dim=1))
        # A product for each map, added to the one before: nothing is concatenated.
        weights = self.weight.flatten(1).split([x.shape[1] for x in maps], dim=1)
        total = fused.linear(maps[0], weights[0], self.bias)
        for x, weight in zip(maps[1:], weights[1:], strict=True):
            total = fused.update(x, total, weight, None)
        return total


class PointwiseUpdate(PointwiseConv2d):
    """1x1 convolution whose result is scaled and added to a map: ``base + gain * convolution(attention * x)``.

    Shape:
        x (N, C, H, W), base (N, K, H, W), gain (1, K, 1, 1), attention (N, C, 1, 1) or (N, C, H, W) or None
        -> (N, K, H, W).
    """

    def scaled(self, gain: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (K, C) and bias (K,) of ``gain * convolution``."""
        return self.weight.flatten(1) * gain.view(-1, 1), self.bias * gain.flatten()

    def forward(self, x: Tensor, base: Tensor, gain: Tensor, attention: Tensor | None = None) -> Tensor:
        if attention is not None and attention.shape[-2:] != (1, 1):
            x, attention = x * attention, None
        return scaled_update(x, base, self.weight.flatten(1), self.bias, gain, attention)


def scaled_update(
    x: Tensor, base: Tensor, weight: Tensor, bias: Tensor | None, gain: Tensor | None, attention: Tensor | None = None
) -> Tensor:
    """``base + gain * (weight @ (attention * x) + bias)`` at every pixel.

    Factors per channel belong to the weights as well as to the maps. There they cost nothing, and what is left is one
    matrix product that is added to a copy of the base: no map is scaled, neither here nor in backward.

    Args:
        x: (N, C, H, W).
        base: (N, K, H, W).
        weight: (K, C).
        bias: (K,) or None for zero.
        gain: (1, K, 1, 1) or None for one.
        attention: (N, C, 1, 1) or None for one.

    Returns:
        (N, K, H, W), channels-last in memory.
    """
    if autocasts_to_half(x.device):
        # In half precision it is the product alone; the base keeps its own precision.
        x = x if attention is None else x * attention
        update = F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)
        return base + update if gain is None else torch.addcmul(base, gain, update)
    if gain is not None:
        weight = weight * gain.view(-1, 1)
        bias = None if bias is None else gain.flatten() * bias
    if attention is not None:
        weight = weight * attention.flatten(1).unsqueeze(1)  # n k c
        weight = weight[0] if weight.shape[0] == 1 else weight
    if fused.runs(x, base):
        return fused.update(x, base, weight, bias)
    if bias is not None:
        base = base + bias.view(1, -1, 1, 1)
    base, x = base.permute(0, 2, 3, 1), x.permute(0, 2, 3, 1).flatten(1, 2)  # n h w k, n l c
    if weight.ndim == 3:
        total = torch.baddbmm(base.flatten(1, 2), x, weight.transpose(1, 2))
    else:
        # The base plus the bias is a map of its own already: without autograd the product is added in place.
        add_product = Tensor.addmm_ if bias is not None and not torch.is_grad_enabled() else torch.addmm
        total = add_product(base.flatten(0, 2), x.flatten(0, 1), weight.t())
    return total.view(base.shape).permute(0, 3, 1, 2)
