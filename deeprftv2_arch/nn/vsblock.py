"""VSBlock: a state space model that reads a feature map as one sequence (paper figure 4 (c); EVSSM)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.functional import GatedScan, add_scan, linear, scan_inputs
from deeprftv2_arch.nn.norm import LayerNorm, LayerNorm2d
from deeprftv2_arch.nn.selective_scan import selective_scan
from deeprftv2_arch.nn.windows import Windows

STATE_SIZE = 8
EXPANSION = 2
# Range of the step sizes at initialisation, and the floor under them (Mamba).
STEP_MIN, STEP_MAX, STEP_FLOOR = 1e-3, 1e-1, 1e-4


class SelectiveScan2d(GatedScan):
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
        projected = rank + 2 * STATE_SIZE
        self.window = None if window is None else Windows(window)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.x_proj = nn.Linear(inner, projected, bias=False)
        self.sequence_conv = nn.Conv1d(projected, projected, 7, padding=3, groups=projected)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1.0, STATE_SIZE + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_norm = LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)
        self._init_steps(rank)

    @torch.no_grad()
    def _init_steps(self, rank: int) -> None:
        """Draw the step sizes log-uniformly and store them through the inverse of softplus."""
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        steps = torch.empty_like(self.dt_proj.bias).uniform_(math.log(STEP_MIN), math.log(STEP_MAX)).exp()
        steps = steps.clamp(min=STEP_FLOOR)
        self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, x: Tensor) -> Tensor:
        return linear(self.gated(x), self.out_proj)

    def gated(self, x: Tensor) -> Tensor:
        """Project, convolve, scan, norm and gate: all but the last projection, (N, C, H, W) -> (N, D, H, W)."""
        features, gate = linear(x, self.in_proj).chunk(2, dim=1)
        scanned = self.scan(F.gelu(self.depthwise(features)))
        normed = self.out_norm(scanned.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed * F.gelu(gate)

    def scan(self, features: Tensor) -> Tensor:
        """Scan (N, D, H, W) maps, each window read row by row; at least in float32."""
        height, width = features.shape[-2:]
        if self.window is None or self.window.covers(height, width):
            return self._scan_rows(features)
        return self.window.merge(self._scan_rows(self.window.split(features)), height, width)

    def _scan_rows(self, features: Tensor) -> Tensor:
        steps, states = scan_inputs(features, self.x_proj, self.sequence_conv, self.dt_proj.weight)
        into, out_of = states.split(STATE_SIZE, dim=-1)  # b l n
        scanned = selective_scan(
            features.permute(0, 2, 3, 1).flatten(1, 2),  # b l d
            steps,
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
        return add_scan(x, x, self.norm, self.scan)
