"""NAFEVSBlock: a NAFBlock with a state space branch beside its channel attention (paper figure 4 (d))."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.functional import add_feed_forward, add_pointwise, add_scan, gated_features
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.vsblock import SelectiveScan2d


class NAFEVSBlock(NAFBlock):
    """Local branch (gated convolution, channel attention) and global branch (selective scan), mixed per channel.

    The scan has one direction. So that a stack of blocks sees all four, a block turns its input before it works: even
    places of a stack transpose it, odd places rotate it by 180 degrees. It is not turned back; :func:`turn_back` undoes
    what a whole stack has done.

    Args:
        channels: Number of channels C.
        index: Place in the stack, from 0.
        pool_kernel: Window of the attention's mean in pixels; None takes the mean of the whole map.
        scan_window: Hard windows of the scan in pixels; None scans the whole map.

    Shape:
        (N, C, H, W) -> (N, C, W, H) for an even index, (N, C, H, W) for an odd one.
    """

    def __init__(
        self, channels: int, index: int, pool_kernel: int | None = None, scan_window: int | None = None
    ) -> None:
        super().__init__(channels, pool_kernel)
        self.transposes = index % 2 == 0
        self.norm_scan = LayerNorm2d(channels)
        self.scan = SelectiveScan2d(channels, scan_window)
        self.scan_gain = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.local_gain = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.global_gain = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(2, 3) if self.transposes else x.flip(2, 3)
        # Turned once here, or else every norm and sum that reads the map would turn it again.
        x = x.contiguous(memory_format=torch.channels_last)
        gated, pooled = gated_features(x, self.norm1, self.expand, self.depthwise, self.pool)
        local_gain = self.beta * self.local_gain
        global_gain = self.beta * self.global_gain * (self.scan_gain + 1)
        x = add_pointwise(x, gated, self.project, gain=local_gain, attention=self.attention(pooled))
        x = add_scan(x, gated, self.norm_scan, self.scan, gain=global_gain)
        return add_feed_forward(x, self.norm2, self.ffn_expand, self.ffn_project, gain=self.gamma)


def turn_back(x: Tensor, blocks: int) -> Tensor:
    """Undo the turns of a stack of ``blocks`` NAFEVSBlocks; multiples of four, as in the paper, need nothing.

    Transposition and rotation by 180 degrees commute, so only the parities of their counts matter.
    """
    if (blocks + 1) // 2 % 2:
        x = x.transpose(2, 3)
    if blocks // 2 % 2:
        x = x.flip(2, 3)
    return x
