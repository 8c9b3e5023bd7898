"""The passes as functions of autograd, on maps (N, H, W, C) that lie so in memory.

Each keeps its inputs and the result of its first product for its gradient, nothing else of what it computes on the way.
Second derivatives are not supported.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.fused.calls import array, flat, kernel_module, packed, row, run, run_sums


def _kept(x: Tensor, keeps: bool, channels: int) -> Tensor:
    """Return where a pass keeps a map with so many channels: a map without rows if it need not."""
    return x.new_empty(x.shape[0], x.shape[1] if keeps else 0, x.shape[2], channels)


class NormExpandDepthwise(torch.autograd.Function):
    """The activation (N, H, W, K) of the depthwise convolution of the expanded norm of x, and its mean (N, K)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, taps: Tensor, taps_bias: Tensor,
        eps: float, gates: bool, keeps: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Take x (N, H, W, C), weight (L, C), bias (L,), taps (9, L), taps_bias (L,); L = 2K with gates, else K."""
        batch, height, width, _ = x.shape
        channels = len(weight) // 2 if gates else len(weight)
        out, sums = x.new_empty(batch, height, width, channels), x.new_zeros(batch, height, channels)
        expanded = _kept(x, keeps, len(weight))
        parameters = eps, packed(weight), row(bias), array(taps), array(taps_bias), gates
        maps = zip(array(x), array(out), array(sums), array(expanded), strict=True)
        calls = [(a, *parameters, *others) for a, *others in maps]
        # Every range computes a row above and one below it as well.
        run(kernel_module('kernels').norm_expand_depthwise, calls, height, out.numel(), per_thread=1)
        ctx.save_for_backward(x, weight, taps, taps_bias, expanded)
        ctx.settings = eps, gates
        return out, sums.sum(1) / (height * width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, mean_gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of all inputs but the settings."""
        x, weight, taps, taps_bias, expanded = ctx.saved_tensors
        eps, gates = ctx.settings
        gradient, mean_gradient = gradient.contiguous(), mean_gradient / (x.shape[1] * x.shape[2])
        x_gradient = torch.zeros_like(x)
        parameters = eps, packed(weight.t()), array(taps), array(taps_bias), gates
        maps = zip(*(array(a) for a in (gradient, mean_gradient, x, expanded, x_gradient)), strict=True)
        sums = run_sums(
            kernel_module('depthwise_gradient').norm_expand_depthwise,
            [(*inputs, *parameters, out) for *inputs, out in maps],
            x.shape[1],
            gradient.numel(),
            (weight.shape, taps_bias.shape, taps.shape, taps_bias.shape),
        )
        return x_gradient, *sums, None, None, None


class Update(torch.autograd.Function):
    """base + weight @ x + bias; without a base, the product and the bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, base: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
        """Take x (N, H, W, K), base (N, H, W, C) or None, weight (C, K) or (N, C, K), bias (C,)."""
        out = x.new_empty(*x.shape[:-1], len(bias))
        ctx.has_base = base is not None
        base = _kept(x, False, len(bias)) if base is None else base
        weights = [packed(weight)] * len(x) if weight.ndim == 2 else [packed(part) for part in weight]
        maps = zip(array(x.flatten(1, 2)), array(base.flatten(1, 2)), weights, array(out.flatten(1, 2)), strict=True)
        calls = [(a, b, w, row(bias), o) for a, b, w, o in maps]
        run(kernel_module('kernels').update, calls, x.shape[1] * x.shape[2], out.numel())
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of all inputs."""
        x, weight = ctx.saved_tensors
        gradient, x_gradient = gradient.contiguous(), torch.empty_like(x)
        maps = zip(*(array(a.flatten(1, 2)) for a in (gradient, x, x_gradient)), strict=True)
        per_sample = weight.ndim == 3
        panels = [packed(part.t()) for part in weight] if per_sample else [packed(weight.t())] * len(x)
        calls = [(g, a, panel, out) for (g, a, out), panel in zip(maps, panels, strict=True)]
        kernel, rows = kernel_module('gradients').update, x.shape[1] * x.shape[2]
        shapes = weight.shape[-2:], gradient.shape[-1:]
        base_gradient = gradient if ctx.has_base else None
        if not per_sample:
            return x_gradient, base_gradient, *run_sums(kernel, calls, rows, x.numel(), shapes)
        # Every sample has weights of its own, and so a sum of its own.
        found = [run_sums(kernel, [call], rows, x.numel(), shapes) for call in calls]
        weight_gradient = torch.stack([part for part, _ in found])
        bias_gradient = sum((part for _, part in found), start=torch.zeros_like(found[0][1]))
        return x_gradient, base_gradient, weight_gradient, bias_gradient


class FeedForward(torch.autograd.Function):
    """x + the gated pair of its norm."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        project: Tensor,
        project_bias: Tensor,
        eps: float,
        keeps: bool,
    ) -> Tensor:
        """Take x (N, H, W, C), weight (2K, C), bias (2K,), project (C, K), project_bias (C,)."""
        out, expanded = torch.empty_like(x), _kept(x, keeps, len(weight))
        parameters = eps, packed(weight), row(bias), packed(project), row(project_bias)
        pixels = flat(x)
        run(
            kernel_module('kernels').feed_forward,
            [(pixels, *parameters, flat(out), flat(expanded))],
            len(pixels),
            out.numel(),
        )
        ctx.save_for_backward(x, weight, project, expanded)
        ctx.eps = eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of all inputs but the settings."""
        x, weight, project, expanded = ctx.saved_tensors
        x_gradient = torch.empty_like(x)
        maps = flat(gradient.contiguous()), flat(x), flat(expanded)
        call = *maps, ctx.eps, packed(weight.t()), packed(project.t()), flat(x_gradient)
        shapes = weight.shape, weight.shape[:1], project.shape, project.shape[:1]
        sums = run_sums(kernel_module('gradients').feed_forward, [call], len(maps[0]), x.numel(), shapes)
        return x_gradient, *sums, None, None


class GatedUpdate(torch.autograd.Function):
    """base + weight @ (norm(scanned) * gelu(gates @ norm(source) + bias))."""

    @staticmethod
    def forward(
        ctx: Any, scanned: Tensor, source: Tensor, base: Tensor, scan_weight: Tensor, scan_bias: Tensor,
        gates: Tensor, gates_bias: Tensor, weight: Tensor, scan_eps: float, eps: float, keeps: bool,
    ) -> Tensor:  # fmt: skip
        """Take scanned (N, H, W, D), source, base (N, H, W, C), gates (D, C), weight (C, D), the others (D,)."""
        out, gating = torch.empty_like(base), _kept(scanned, keeps, len(gates))
        parameters = scan_eps, array(scan_weight), array(scan_bias), eps, packed(gates), row(gates_bias)
        nothing = row(weight.new_zeros(len(weight)))
        call = flat(scanned), flat(source), flat(base), *parameters, packed(weight), nothing, flat(out), flat(gating)
        run(kernel_module('kernels').gated_update, [call], len(call[0]), scanned.numel())
        ctx.save_for_backward(scanned, source, scan_weight, scan_bias, gates, weight, gating)
        ctx.settings = scan_eps, eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of all inputs but the settings."""
        scanned, source, scan_weight, scan_bias, gates, weight, gating = ctx.saved_tensors
        scan_eps, eps = ctx.settings
        gradient = gradient.contiguous()
        scanned_gradient, source_gradient = torch.zeros_like(scanned), torch.zeros_like(source)
        maps = flat(gradient), flat(scanned), flat(source), flat(gating)
        parameters = scan_eps, array(scan_weight), array(scan_bias), eps, packed(gates.t()), packed(weight.t())
        call = *maps, *parameters, flat(scanned_gradient), flat(source_gradient)
        inner = scan_weight.shape
        sums = run_sums(
            kernel_module('gradients').gated_update,
            [call],
            len(maps[0]),
            scanned.numel(),
            (inner, inner, gates.shape, inner, weight.shape),
        )
        return scanned_gradient, source_gradient, gradient, *sums, None, None, None
