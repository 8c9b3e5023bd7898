"""Stacks of blocks, by the names the option files use."""

from __future__ import annotations

from torch import Tensor, nn

from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock, turn_back

BLOCK_TYPES = ('naf', 'nafevs', 'localnaf', 'localnafevs')
# Window of the local pooling as a multiple of the training size.
POOL_MARGIN = 1.5


def pooling_window(kind: str, train_size: float | None) -> int | None:
    """Return the side of the sliding window of the channel attention in a stack; None for the whole map.

    Args:
        kind: One of `BLOCK_TYPES`.
        train_size: Side of the training crops at that level in pixels, if it is known.

    Raises:
        ValueError: An unknown kind, or a local kind without a training size.
    """
    if kind not in BLOCK_TYPES:
        raise ValueError(f'unknown block type {kind!r}; choose from {", ".join(BLOCK_TYPES)}')
    if kind.startswith('local') and train_size is None:
        raise ValueError(f'block type {kind!r} pools over a window of the training size: set train_size')
    return None if train_size is None else int(POOL_MARGIN * train_size)


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
        blocks: list[NAFBlock]
        if base == 'naf':
            blocks = [NAFBlock(channels, kernel) for _ in range(depth)]
        else:
            window = scan_window if local else None
            blocks = [NAFEVSBlock(channels, index, kernel, window) for index in range(depth)]
        super().__init__(*blocks)
        self.turns = depth if base == 'nafevs' else 0

    def forward(self, x: Tensor) -> Tensor:
        return turn_back(super().forward(x), self.turns)
