"""What the arguments of blocks and networks must satisfy, alone and together.

Modules and networks call these functions before they build anything. They need no torch, so an option file is judged by
the same functions before torch is imported. Each raises ValueError with a message that names the arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BLOCK_TYPES = ('naf', 'nafevs', 'localnaf', 'localnafevs')
# Window of the local pooling as a multiple of the training size.
POOL_MARGIN = 1.5
SMALLEST_TILE = 64


def check_windows(size: int, overlap: int | None = None) -> None:
    """The size of windows in pixels, and what neighbours share."""
    if size < 1:
        raise ValueError(f'the window size must be at least 1 pixel, got {size}')
    if overlap is not None and not 0 <= overlap < size:
        raise ValueError(f'the window overlap must be in [0, {size}), the window size; got {overlap}')


def check_pooling(kernel: int | None) -> None:
    """The side of the sliding window of the channel attention in pixels; None for the whole map."""
    if kernel is not None and kernel < 1:
        raise ValueError(f'the pooling window must be at least 1 pixel wide, got {kernel}')


def pooling_window(kind: str, train_size: float | None) -> int | None:
    """Side of the sliding window of the channel attention in a stack of blocks; None for the whole map.

    Args:
        kind: One of `BLOCK_TYPES`.
        train_size: Side of the training crops at that level in pixels, if it is known.
    """
    if kind not in BLOCK_TYPES:
        raise ValueError(f'unknown block type {kind!r}; choose from {", ".join(BLOCK_TYPES)}')
    if kind.startswith('local') and train_size is None:
        raise ValueError(f'block type {kind!r} pools over a window of the training size: set train_size')
    return None if train_size is None else int(POOL_MARGIN * train_size)


def scaled_windows(name: str, size: int, overlap: int, levels: int, scales: int) -> Iterator[tuple[int, int]]:
    """Size and overlap of windows at every scale of DeepRFTv2; they must halve exactly from scale to scale.

    Args:
        name: The argument that sets them.
        size: Side at full resolution in pixels.
        overlap: Pixels shared there by neighbours.
        levels: Levels of each scale.
        scales: Number of scales.
    """
    multiple = 2 ** (levels + scales - 2)
    if size < 1 or size % multiple or overlap % 2 ** (scales - 1):
        raise ValueError(
            f'{name} must be a positive multiple of {multiple} and its overlap a multiple of {2 ** (scales - 1)}, got '
            f'{size} and {overlap}'
        )
    for scale in range(scales):
        check_windows(size >> scale, overlap >> scale)
        yield size >> scale, overlap >> scale


def default_overlap(size: int, levels: int, scales: int) -> int:
    """A quarter of a tile of DeepRFTv2, rounded down to what halves exactly from scale to scale."""
    multiple = 2 ** (levels + scales - 2)
    return size // 4 // multiple * multiple


def check_deeprftv2(
    in_channels: int,
    width: int,
    num_blocks: Sequence[int],
    block_types: Sequence[Sequence[str]],
    num_columns: int,
    train_size: int | None,
    scan_window: int | None,
    fke_window: int | None,
    fke_overlap: int,
    tile: int | str | None,
    tile_overlap: int | None,
    **_others: object,
) -> None:
    """The arguments of :class:`~deeprftv2_arch.archs.DeepRFTv2`."""
    levels, scales = len(num_blocks), len(block_types)
    if levels < 2:
        raise ValueError(f'num_blocks needs at least two levels, got {list(num_blocks)}')
    if scales < 1 or any(len(types) != levels for types in block_types):
        raise ValueError(
            f'block_types needs one list per scale with one name per level; num_blocks has {levels} levels, got '
            f'{[list(types) for types in block_types]}'
        )
    if num_columns < 1 or width < 1 or in_channels < 1 or min(num_blocks) < 0:
        raise ValueError(
            'num_columns, width and in_channels must be at least 1 and num_blocks not negative, got '
            f'{num_columns}, {width}, {in_channels} and {list(num_blocks)}'
        )
    if tile is not None:
        size = SMALLEST_TILE if tile == 'auto' else tile
        overlap = default_overlap(size, levels, scales) if tile_overlap is None else tile_overlap
        list(scaled_windows('tile', size, overlap, levels, scales))
    if fke_window is not None:
        list(scaled_windows('fke_window', fke_window, fke_overlap, levels, scales))
    for scale, types in enumerate(block_types):
        for level, kind in enumerate(types):
            factor = 2 ** (scale + level)
            check_pooling(pooling_window(kind, None if train_size is None else train_size / factor))
            if scan_window is not None:
                check_windows(scan_window // factor)


def check_atd(
    upscale: int,
    in_channels: int,
    width: int,
    depths: Sequence[int],
    heads: int,
    window: int,
    group: int,
    tokens: int,
    code_channels: int,
    ffn_ratio: float,
    ffn_kernel: int,
    exit_convs: int,
    upsampler: str,
    tile: int | str | None,
    tile_overlap: int | None,
    **_others: object,
) -> None:
    """The arguments of :class:`~deeprftv2_arch.archs.ATD`."""
    if min(width, heads, in_channels) < 1 or width % heads:
        raise ValueError(f'heads must divide width, got {heads} and {width}')
    if window % 2 or window < 2 or not ffn_kernel % 2 or ffn_kernel < 1:
        raise ValueError(f'window must be even and ffn_kernel odd, got {window} and {ffn_kernel}')
    if min(upscale, group, tokens, code_channels, *depths) < 1 or not depths:
        raise ValueError(
            'upscale, group, tokens, code_channels and every number of depths must be at least 1, got '
            f'{upscale}, {group}, {tokens}, {code_channels} and {list(depths)}'
        )
    if int(width * ffn_ratio) < 1:
        raise ValueError(f'ffn_ratio must leave at least one channel of width, got {ffn_ratio} and {width}')
    if exit_convs not in (1, 3):
        raise ValueError(f'exit_convs must be 1 or 3, got {exit_convs}')
    if exit_convs == 3 and width < 4:
        raise ValueError(f'exit_convs 3 has a quarter of width in its middle, which is {width}')
    if tile is not None:
        size = SMALLEST_TILE if tile == 'auto' else tile
        check_windows(size, size // 4 if tile_overlap is None else tile_overlap)
    upsampler_steps(upsampler, upscale)


def check_atd_fke(fke_window: int | None, fke_overlap: int, **others: object) -> None:
    """The arguments of :class:`~deeprftv2_arch.archs.ATDFKE`."""
    check_atd(**others)
    if fke_window is not None:
        check_windows(fke_window, fke_overlap)


def upsampler_steps(kind: str, scale: int) -> list[int]:
    """By what factors an end of ATD enlarges, one after the other."""
    if kind == 'direct':
        return [scale]
    if kind == 'nearest':
        if scale != 4:
            raise ValueError(f"upsampler 'nearest' is for upscale 4, got {scale}")
        return [2, 2]
    if kind != 'pixelshuffle':
        raise ValueError(f"unknown upsampler {kind!r}: expected 'direct', 'pixelshuffle' or 'nearest'")
    if scale == 3:
        return [3]
    if scale < 2 or scale & (scale - 1):
        raise ValueError(f"upsampler 'pixelshuffle' is for upscale 3 and powers of 2, got {scale}")
    return [2] * (scale.bit_length() - 1)


def check_bicubic(upscale: int, **_others: object) -> None:
    """The arguments of :class:`~deeprftv2_arch.archs.Bicubic`."""
    if upscale < 1:
        raise ValueError(f'upscale must be at least 1, got {upscale}')
