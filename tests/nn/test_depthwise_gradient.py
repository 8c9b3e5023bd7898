"""The compiled gradient of norm, expansion, depthwise convolution and activation is that of autograd in float64."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from deeprftv2_arch.nn.fused import depthwise_gradient
from deeprftv2_arch.nn.fused.calls import packed

EPS = np.float32(1e-6)
# C, H, W: a lone pixel, a column, a tile that is not a multiple of a block, many rows, uneven parts.
SIZES = [(16, 1, 1), (16, 7, 1), (48, 3, 50), (32, 9, 33), (16, 4, 301)]


def expand_norm(x: Tensor, expand: Tensor, expand_bias: Tensor) -> Tensor:
    """A map (H, W, C) and weights (L, C)."""
    return F.linear(F.layer_norm(x, x.shape[-1:], eps=EPS), expand, expand_bias)


def plain(x: Tensor, expand: Tensor, expand_bias: Tensor, taps: Tensor, taps_bias: Tensor, gates: bool) -> Tensor:
    """A map (H, W, C), weights (L, C) and taps (L, 1, 3, 3)."""
    expanded = expand_norm(x, expand, expand_bias)
    value = F.conv2d(expanded.permute(2, 0, 1), taps, taps_bias, padding=1, groups=len(taps)).permute(1, 2, 0)
    if not gates:
        return F.gelu(value)
    one, other = value.chunk(2, dim=-1)
    return one * other


def shares(height: int, uneven: bool) -> list[tuple[int, int]]:
    """The rows of a map for one thread, or for three."""
    bounds = [0, min(1, height), max(height // 2, 1), height] if uneven else [0, height]
    return list(pairwise(bounds))


@pytest.mark.parametrize('uneven', [False, True], ids=['one share', 'three shares'])
@pytest.mark.parametrize('gates', [True, False], ids=['gates', 'gelu'])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_gradient_is_that_of_autograd(size: tuple[int, int, int], gates: bool, uneven: bool) -> None:
    torch.manual_seed(0)
    channels, height, width = size
    expansion = 2 * channels
    result_channels = expansion // 2 if gates else expansion
    shapes = size[1:] + size[:1], (expansion, channels), (expansion,), (expansion, 1, 3, 3), (expansion,)
    inputs = [scale * torch.randn(shape) for scale, shape in zip((3, 0.3, 0.3, 0.5, 0.3), shapes, strict=True)]
    gradient, mean_gradient = torch.randn(height, width, result_channels), torch.randn(result_channels)
    exact = [each.double().requires_grad_() for each in inputs]
    result = plain(*exact, gates)
    loss = (result * gradient).sum() + (result.mean((0, 1)) * mean_gradient).sum()
    expected = torch.autograd.grad(loss, exact)

    x, expand, expand_bias, taps, taps_bias = inputs
    expanded = expand_norm(*exact[:3]).detach().float()
    columns = taps.flatten(1).t().contiguous()
    parts = shares(height, uneven)
    x_gradient = torch.zeros_like(x)
    sums = [torch.zeros(len(parts), *each.shape) for each in (expand, expand_bias, columns, taps_bias)]
    for part, (first, last) in enumerate(parts):
        depthwise_gradient.norm_expand_depthwise(
            gradient.numpy(), (mean_gradient / (height * width)).numpy(), x.numpy(), expanded.numpy(), EPS,
            packed(expand.t()), columns.numpy(), taps_bias.numpy(), gates, x_gradient.numpy(),
            *(each[part].numpy() for each in sums), first, last,
        )  # fmt: skip
    expand_gradient, expand_bias_gradient, taps_gradient, taps_bias_gradient = (each.sum(0) for each in sums)
    found = x_gradient, expand_gradient, expand_bias_gradient, taps_gradient.t().view_as(taps), taps_bias_gradient
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 5e-6 * other.abs().max()
