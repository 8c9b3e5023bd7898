"""Stacks of blocks, by the names the option files use."""

from __future__ import annotations

from torch import Tensor, nn

from deeprftv2_arch.nn.arguments import pooling_window
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock, turn_back


class BlockStack(nn.Sequential):
    """The blocks of one level.

    Args:
        kind: ``naf`` or ``nafevs``; ``localnaf`` and ``localnafevs`` are the same and insist on a training size.
        channels: Number of channels C.
        depth: Number of blocks, 0 for none.
        train_size: Side of the training crops at this level in pixels: the channel attention pools over a sliding
            window of 1.5 times as much. None pools over the whole map.
        scan_window: Hard windows of the scan at this level in pixels, for ``localnafevs``.

    Shape:
        (N, C, H, W) -> (N, C, H, W). NAFEVSBlocks turn the map; what is left of their turns is undone at the end.

    Raises:
        ValueError: An unknown kind, or a local kind without a training size.
    """

    def __init__(
        self, kind: str, channels: int, depth: int, train_size: float | None = None, scan_window: int | None = None
    ) -> None:
        kernel = pooling_window(kind, train_size)
        local, base = kind.startswith('local'), kind.removeprefix('local')
        if base == 'naf':
            blocks = [NAFBlock(channels, kernel) for _ in range(depth)]
        else:
            window = scan_window if local else None
            blocks = [NAFEVSBlock(channels, index, kernel, window) for index in range(depth)]
        super().__init__(*blocks)
        self.turns = depth if base == 'nafevs' else 0

    def forward(self, x: Tensor) -> Tensor:
        return turn_back(super().forward(x), self.turns)
