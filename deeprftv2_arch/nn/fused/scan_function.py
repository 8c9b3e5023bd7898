"""The pass of `scan_kernels.py` as a function of autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.fused.calls import array, kernel_module, lanes, packed, run, run_sums


def _filled(x: Tensor, rank: int) -> Tensor:
    """Fill the first rows of x (K, ...), those of the steps, up to whole vectors with zeros."""
    missing = -rank % lanes()
    return torch.cat([x[:rank], x.new_zeros(missing, *x.shape[1:]), x[rank:]])


def _taken(x: Tensor, rank: int) -> Tensor:
    """Undo `_filled`."""
    return torch.cat([x[:rank], x[rank + -rank % lanes() :]])


class ScanInputs(torch.autograd.Function):
    """Step sizes (N, L, D) and weights of the states (N, L, S) of features (N, L, D)."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, taps: Tensor, taps_bias: Tensor, spread: Tensor, keeps: bool
    ) -> tuple[Tensor, Tensor]:
        """Take features (N, L, D), weight (K, D), taps (K, 7), taps_bias (K,), spread (D, K - S)."""
        batch, length, _ = features.shape
        rank = spread.shape[1]
        weight, taps, taps_bias = (_filled(x, rank) for x in (weight.detach(), taps.detach(), taps_bias.detach()))
        spread = _filled(spread.detach().t(), rank).t()
        delta = torch.empty_like(features)
        states = features.new_empty(batch, length, len(weight) - spread.shape[1])
        kept = features.new_empty(batch, length if keeps else 0, len(weight))
        taps = taps.t().contiguous()
        parameters = packed(weight), array(taps), array(taps_bias), packed(spread)
        maps = zip(*(array(x) for x in (features, delta, states, kept)), strict=True)
        calls = [(x, *parameters, *results) for x, *results in maps]
        run(kernel_module('scan_kernels').project, calls, length, features.numel())
        ctx.save_for_backward(features, weight, taps, taps_bias, spread, kept)
        ctx.rank = rank
        return delta, states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, delta_gradient: Tensor, states_gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of all inputs but the last."""
        features, weight, taps, taps_bias, spread, kept = ctx.saved_tensors
        features_gradient = torch.empty_like(features)
        parameters = array(taps), array(taps.flip(0)), array(taps_bias), packed(spread.t()), packed(weight.t())
        maps = zip(
            *(array(x) for x in (delta_gradient, states_gradient, features, kept, features_gradient)), strict=True
        )
        weights, taps_gradient, bias_gradient, spread_gradient = run_sums(
            kernel_module('scan_kernels').project_gradient,
            [(*inputs, *parameters, out) for *inputs, out in maps],
            features.shape[1],
            features.numel(),
            (weight.shape, taps.shape, taps_bias.shape, spread.shape),
        )
        found = (_taken(x, ctx.rank) for x in (weights, taps_gradient.t(), bias_gradient))
        return features_gradient, *found, spread_gradient[:, : ctx.rank], None
