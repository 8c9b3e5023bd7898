"""What the options of networks must keep to: numbers of levels, scales and blocks, sizes of windows."""

from __future__ import annotations

from collections.abc import Sequence

from deeprftv2_arch.nn.pooling import check_pooling
from deeprftv2_arch.nn.stack import pooling_window
from deeprftv2_arch.nn.windows import Windows, check_windows

MOST_BLOCKS = 1000
"""Of all levels, scales and columns. DeepRFTv2-B has 52; a number this large is a mistake, and takes long to build."""


def check_number_of_blocks(name: str, count: int) -> None:
    """Raise ValueError for more blocks than anybody can mean."""
    if count > MOST_BLOCKS:
        raise ValueError(f'{name} asks for {count:,} blocks; at most {MOST_BLOCKS:,} are built')


def scaled_windows(name: str, size: int, overlap: int, multiple: int, scales: int) -> list[Windows]:
    """Return the windows of every scale; they must halve exactly from scale to scale.

    Args:
        name: The argument that sets them, for messages.
        size: Side at full resolution in pixels.
        overlap: Pixels shared there by neighbours.
        multiple: What the size must be a multiple of.
        scales: Number of scales of the image pyramid.

    Raises:
        ValueError: They do not halve, or the overlap is not in [0, size).
    """
    if size < 1 or size % multiple or overlap % 2 ** (scales - 1):
        raise ValueError(
            f'{name} must be a positive multiple of {multiple} and its overlap a multiple of {2 ** (scales - 1)}, got '
            f'{size} and {overlap}'
        )
    return [Windows(size >> scale, overlap >> scale) for scale in range(scales)]


def default_overlap(size: int, multiple: int) -> int:
    """Return a quarter of a tile, rounded down to what halves exactly from scale to scale."""
    return size // 4 // multiple * multiple


def check_shape(num_blocks: Sequence[int], block_types: Sequence[Sequence[str]], **positive: int) -> None:
    """Raise ValueError for numbers of levels, scales, blocks and channels that make no network."""
    levels = len(num_blocks)
    if levels < 2:
        raise ValueError(f'num_blocks needs at least two levels, got {list(num_blocks)}')
    if not block_types or any(len(types) != levels for types in block_types):
        raise ValueError(
            f'block_types needs one list per scale with one name per level; num_blocks has {levels} levels, got '
            f'{[list(types) for types in block_types]}'
        )
    if min(positive.values()) < 1 or min(num_blocks) < 0:
        *names, last = positive
        raise ValueError(
            f'{", ".join(names)} and {last} must be at least 1 and num_blocks not negative, got '
            f'{", ".join(map(str, positive.values()))} and {list(num_blocks)}'
        )
    check_number_of_blocks('num_blocks', sum(num_blocks) * len(block_types) * positive.get('num_columns', 1))


def check_layout(layout: str, scales: int) -> None:
    """Raise ValueError for an unknown layout, or for one that has another number of scales."""
    if layout not in ('dms', 'mimo'):
        raise ValueError(f'unknown layout {layout!r}; choose from dms, mimo')
    if layout == 'mimo' and scales != 1:
        raise ValueError(f'layout mimo is one UNet: block_types needs one list, got {scales}')


def check_levels(block_types: Sequence[Sequence[str]], train_size: int | None, scan_window: int | None) -> None:
    """Raise ValueError for block types, or for sizes that are too small at some level."""
    for scale, types in enumerate(block_types):
        for level, kind in enumerate(types):
            factor = 2 ** (scale + level)
            check_pooling(pooling_window(kind, None if train_size is None else train_size / factor))
            if scan_window is not None:
                check_windows(scan_window // factor)
