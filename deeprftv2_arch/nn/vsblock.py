"""VSBlock: a state space model that reads a feature map as one sequence (paper figure 4 (c); EVSSM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.norm import LayerNorm, LayerNorm2d
from deeprftv2_arch.nn.pointwise import scaled_update
from deeprftv2_arch.nn.selective_scan import selective_scan
from deeprftv2_arch.nn.windows import Windows

STATE_SIZE = 8
EXPANSION = 2
# Range of the step sizes at initialisation, and the floor under them (Mamba).
STEP_MIN, STEP_MAX, STEP_FLOOR = 1e-3, 1e-1, 1e-4


class LinearUpdate(nn.Linear):
    """Linear layer over the channels whose result is scaled and added to a map: ``base + gain * layer(x)``.

    Shape:
        x (N, C, H, W), base (N, K, H, W) or None for zero, gain (1, K, 1, 1) or None for one -> (N, K, H, W).
    """

    def forward(self, x: Tensor, base: Tensor | None, gain: Tensor | None) -> Tensor:
        if base is None:
            update = super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return update if gain is None else gain * update
        return scaled_update(x, base, self.weight, self.bias, gain)


class SelectiveScan2d(nn.Module):
    """Gated selective scan over the pixels of a feature map, row by row, in one direction ("EVSS2D").

    Args:
        channels: Channels C of input and output; the scan runs on D = 2C channels with 8 states each.
        window: If given, maps larger than this many pixels along a side are scanned in hard windows of this size. The
            convolution, the projections, the norm and the gate still see the whole map.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, window: int | None = None) -> None:
        super().__init__()
        inner, rank = EXPANSION * channels, math.ceil(channels / 16)
        self.window = None if window is None else Windows(window)
        self.sections = (rank, STATE_SIZE, STATE_SIZE)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.sections), bias=False)
        self.sequence_conv = nn.Conv1d(sum(self.sections), sum(self.sections), 7, padding=3, groups=sum(self.sections))
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, STATE_SIZE + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_norm = LayerNorm(inner)
        self.out_proj = LinearUpdate(inner, channels, bias=False)
        self._init_steps(rank)

    @torch.no_grad()
    def _init_steps(self, rank: int) -> None:
        """Draw the step sizes log-uniformly and store them through the inverse of softplus."""
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        steps = torch.empty_like(self.dt_proj.bias).uniform_(math.log(STEP_MIN), math.log(STEP_MAX)).exp()
        steps = steps.clamp(min=STEP_FLOOR)
        self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(
        self, x: Tensor, base: Tensor | None = None, gain: Tensor | None = None, norm: LayerNorm2d | None = None
    ) -> Tensor:
        """The scan of ``x``.

        Args:
            x: (N, C, H, W).
            base: (N, C, H, W), to which the scan is added.
            gain: (1, C, 1, 1), by which the scan is multiplied before.
            norm: Norm of ``x`` that comes before the scan; given here, one pass over the map does both.
        """
        modules = norm, self.in_proj, self.depthwise, self.out_norm, self.out_proj
        if norm is not None and fused.runs(x, modules=modules):
            return self._forward_fused(x, norm, base, gain)
        x = x if norm is None else norm(x)
        both = self.in_proj(x.permute(0, 2, 3, 1))  # b h w 2d
        features, gate = both.chunk(2, dim=-1)
        features = F.gelu(self.depthwise(features.permute(0, 3, 1, 2)))  # b d h w
        scanned = self.out_norm(self._scan_windows(features).permute(0, 2, 3, 1)) * F.gelu(gate)
        return self.out_proj(scanned.permute(0, 3, 1, 2), base, gain)

    def _forward_fused(self, x: Tensor, norm: LayerNorm2d, base: Tensor | None, gain: Tensor | None) -> Tensor:
        features_weight, gate_weight = self.in_proj.weight.chunk(2)
        features, _ = fused.norm_expand_depthwise(x, norm, features_weight, None, self.depthwise, gates=False)
        base = torch.zeros_like(x) if base is None else base
        weight = self.out_proj.weight if gain is None else gain.view(-1, 1) * self.out_proj.weight
        return fused.gated_update(self._scan_windows(features), x, base, norm, gate_weight, self.out_norm, weight)

    def _scan_windows(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        if self.window is None or self.window.covers(height, width):
            return self.scan(features)
        return self.window.merge(self.scan(self.window.split(features)), height, width)

    def scan(self, features: Tensor) -> Tensor:
        """Selective scan of (N, D, H, W) maps, each read row by row; at least float32."""
        sequence = features.permute(0, 2, 3, 1).flatten(1, 2)  # b l d
        if fused.runs(features, modules=(self.x_proj,)):
            projected = fused.linear(features, self.x_proj.weight, None).flatten(2)  # b k l
        else:
            projected = self.x_proj(sequence).transpose(1, 2)
        projected = self.sequence_conv(projected).transpose(1, 2)
        steps, into, out_of = projected.split(self.sections, dim=-1)
        scanned = selective_scan(
            sequence,
            F.linear(steps, self.dt_proj.weight),
            -self.A_log.exp(),
            into,
            out_of,
            self.D,
            self.dt_proj.bias,
        )
        return scanned.unflatten(1, features.shape[-2:]).permute(0, 3, 1, 2)


class VSBlock(nn.Module):
    """``x + SelectiveScan2d(LayerNorm2d(x))``, the block of the Fourier kernel estimator.

    Args:
        channels: Number of channels C.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.scan = SelectiveScan2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.scan(x, base=x, norm=self.norm)
