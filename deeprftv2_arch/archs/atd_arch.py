"""ATD and ATD + FKE: super-resolution with a dictionary of tokens (CVPR 2024), and with kernel estimators (table 5)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.archs.limits import check_number_of_blocks
from deeprftv2_arch.archs.signatures import with_arguments_of
from deeprftv2_arch.nn.atd.block import ATDBlock, to_map, to_pixels
from deeprftv2_arch.nn.atd.upsampler import make_upsampler, upsampler_steps
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.memory import SMALLEST_TILE, largest_that_fits
from deeprftv2_arch.nn.modules import TypedModuleList
from deeprftv2_arch.nn.norm import LayerNorm
from deeprftv2_arch.nn.precision import at_least_float32
from deeprftv2_arch.nn.tta import mirror_pad, self_ensemble
from deeprftv2_arch.nn.windows import Windows, check_windows

_logger = logging.getLogger('deeprftv2_arch')

# Mean colour of the training images, DIV2K; RGB.
MEAN = (0.4488, 0.4371, 0.4040)
# Memory of a forward pass at its peak, as a number of maps of the body's width: benchmarks/sr.py prints 22.
PEAK_MAPS = 24


def exit_conv(channels: int, convs: int) -> nn.Module:
    """The 3x3 convolution at the end of a block and of the body, or three with a narrow middle."""
    if convs == 1:
        return nn.Conv2d(channels, channels, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(channels, channels // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels // 4, channels // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(channels // 4, channels, 3, padding=1),
    )


def _check_channels(*, width: int, heads: int, in_channels: int, ffn_ratio: float, exit_convs: int) -> None:
    """Raise ValueError for channels that do not fit together."""
    if min(width, heads, in_channels) < 1 or width % heads:
        raise ValueError(f'heads must divide width, got {heads} and {width}')
    if int(width * ffn_ratio) < 1:
        raise ValueError(f'ffn_ratio must leave at least one channel of width, got {ffn_ratio} and {width}')
    if exit_convs not in (1, 3):
        raise ValueError(f'exit_convs must be 1 or 3, got {exit_convs}')
    if exit_convs == 3 and width < 4:
        raise ValueError(f'exit_convs 3 has a quarter of width in its middle, which is {width}')


def _check_counts(depths: Sequence[int], **counts: int) -> None:
    """Raise ValueError for numbers that must be at least 1."""
    if min(*counts.values(), *depths) < 1 or not depths:
        raise ValueError(
            f'{", ".join(counts)} and every number of depths must be at least 1, got '
            f'{", ".join(map(str, counts.values()))} and {list(depths)}'
        )
    check_number_of_blocks('depths', sum(depths))


@ARCH_REGISTRY.register()
class ATD(nn.Module):
    """Adaptive Token Dictionary network. The defaults are ATD-light; ``docs/atd.md`` has the options of ATD itself.

    Args:
        upscale: By what the sides of the image grow.
        in_channels: Channels K of the image. With three, the mean colour of DIV2K is subtracted inside.
        width: Channels C of the body.
        depths: Layers of each block.
        heads: Attention heads; divides ``width``.
        window: Side of an attention window in pixels.
        group: Pixels of a group of the category attention. It leaves no trace in the weights.
        tokens: Tokens of a dictionary; every block learns its own.
        code_channels: Length of the codes by which pixels and tokens are compared.
        ffn_ratio: Channels of the feed-forward parts, as a multiple of ``width``.
        ffn_kernel: Side of their depthwise convolution in pixels.
        exit_convs: Convolutions at the end of each block and of the body, 1 or 3.
        upsampler: ``direct`` (light), ``pixelshuffle`` or ``nearest``.
        checkpointed: In training, compute every layer again in backward instead of storing what is inside it. Same
            results, less memory, about a third more time.
        tile: In evaluation mode, run larger images in blended tiles of this many pixels of the small image; None for
            the whole image, ``auto`` for the largest tiles that fit in memory.
        tile_overlap: Pixels shared by neighbouring tiles; None for a quarter of the tile.
        self_ensemble: In evaluation mode, return the mean over the eight flips and quarter turns of the image.

    Shape:
        (N, K, H, W), RGB in [0, 1], any H, W >= 1 -> (N, K, upscale * H, upscale * W), not clamped. Inside, the image
        is continued to multiples of ``window`` by mirroring, as published.

    Raises:
        ValueError: Options that do not fit together; the message names them.
    """

    def __init__(
        self,
        *,
        upscale: int = 4,
        in_channels: int = 3,
        width: int = 48,
        depths: Sequence[int] = (6, 6, 6, 6),
        heads: int = 4,
        window: int = 16,
        group: int = 128,
        tokens: int = 64,
        code_channels: int = 8,
        ffn_ratio: float = 1.0,
        ffn_kernel: int = 7,
        exit_convs: int = 1,
        upsampler: Literal['direct', 'pixelshuffle', 'nearest'] = 'direct',
        checkpointed: bool = False,
        tile: int | Literal['auto'] | None = None,
        tile_overlap: int | None = None,
        self_ensemble: bool = False,
    ) -> None:
        _check_channels(width=width, heads=heads, in_channels=in_channels, ffn_ratio=ffn_ratio, exit_convs=exit_convs)
        _check_counts(depths, upscale=upscale, group=group, tokens=tokens, code_channels=code_channels)
        if window % 2 or window < 2 or not ffn_kernel % 2 or ffn_kernel < 1:
            raise ValueError(f'window must be even and ffn_kernel odd, got {window} and {ffn_kernel}')
        upsampler_steps(upsampler, upscale)
        if tile is not None:
            size = SMALLEST_TILE if tile == 'auto' else tile
            check_windows(size, size // 4 if tile_overlap is None else tile_overlap)
        super().__init__()
        self.upscale, self.window = upscale, window
        self.tile, self.tile_overlap, self.self_ensemble = tile, tile_overlap, self_ensemble
        # How the last image was upscaled in evaluation mode, in words.
        self.test_mode = ''
        self.mean = MEAN if in_channels == 3 else (0.0,) * in_channels
        # Bytes per pixel of the small image at the peak of a forward pass.
        self.cost = PEAK_MAPS * width * 4

        # Its margin of one pixel is part of the input, so that a tile has its neighbours' pixels there.
        self.shallow = nn.Conv2d(in_channels, width, 3)
        self.entry_norm = LayerNorm(width)
        self.blocks: TypedModuleList[ATDBlock] = TypedModuleList(
            ATDBlock(
                width,
                depth,
                window,
                tokens,
                exit_conv(width, exit_convs),
                checkpointed,
                heads=heads,
                group=group,
                code_channels=code_channels,
                ffn_channels=int(width * ffn_ratio),
                ffn_kernel=ffn_kernel,
            )
            for depth in depths
        )
        self.exit_norm = LayerNorm(width)
        self.exit_conv = exit_conv(width, exit_convs)
        self.upsampler = make_upsampler(upsampler, width, in_channels, upscale)
        self._init_linear_layers()

    def _init_linear_layers(self) -> None:
        for name, module in self.named_modules():
            # The projections of a scan's step sizes keep the values they were drawn with.
            if isinstance(module, nn.Linear) and not name.endswith(('x_proj', 'dt_proj')):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale (N, K, H, W) images in [0, 1]."""
        if self.self_ensemble and not self.training:
            return self_ensemble(self._upscale, x)
        return self._upscale(x)

    def _upscale(self, x: Tensor) -> Tensor:
        height, width = (side * self.upscale for side in x.shape[-2:])
        mean = x.new_tensor(self.mean)[:, None, None]
        x = F.pad(self._continued(x) - mean, (1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
        x = self._restore(x) if self.training else self._evaluate(x)
        # Cut off by a view and shifted in place: the image may be larger than all that computing it takes.
        return at_least_float32(x[..., :height, :width]).add_(mean)

    def _continued(self, x: Tensor) -> Tensor:
        return mirror_pad(x, self.window)

    def _evaluate(self, x: Tensor) -> Tensor:
        """Upscale whole or in tiles, as the options say; the log tells which, once."""
        height, width = (side - 2 for side in x.shape[-2:])

        def run(size: int) -> Tensor:
            if size >= max(height, width):
                self._log_mode('whole images')
                return self._restore(x)
            tiles = self._tiles(size)
            self._log_mode(f'blended tiles of {tiles.size} pixels that share {tiles.overlap}')
            # One tile after the other: only the upscaled image grows with the image.
            parts = (
                self._restore(x[..., rows.start : rows.stop + 2, columns.start : columns.stop + 2])
                for rows, columns in tiles.slices(height, width)
            )
            upscaled = Windows(tiles.size * self.upscale, (tiles.overlap or 0) * self.upscale, rounded=False)
            return upscaled.merge(parts, height * self.upscale, width * self.upscale)

        if self.tile == 'auto':
            largest = max(height, width)
            return largest_that_fits(run, largest, SMALLEST_TILE, self.window, self.cost, x.device)
        return run(self.tile or max(height, width))

    def _tiles(self, size: int) -> Windows:
        return Windows(size, size // 4 if self.tile_overlap is None else self.tile_overlap)

    def _log_mode(self, mode: str) -> None:
        if self.self_ensemble:
            mode = f'{mode}, the mean over eight flips and turns'
        if mode != self.test_mode:
            self.test_mode = mode
            _logger.info('Upscaling %s.', mode)

    def _restore(self, x: Tensor) -> Tensor:
        """Upscale one tile, given with a margin of one pixel: (N, K, H + 2, W + 2)."""
        shallow = self.shallow(x)
        size = shallow.shape[-2:]
        x = self._run_blocks(self.entry_norm(to_pixels(shallow)), size)
        return self.upsampler(self.exit_conv(to_map(self.exit_norm(x), size)) + shallow)

    def _run_blocks(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        for block in self.blocks:
            x = block(x, size)
        return x


@ARCH_REGISTRY.register()
class ATDFKE(ATD):
    """ATD with a Fourier kernel estimator behind every block. The defaults are ATD-light + FKE of the paper's table 5.

    The estimators are chained: each hands its residual maps to the next. The norm of the body's entry is applied again
    behind each of them, with the same weights, as published.

    Args:
        upscale, in_channels, width, depths, heads, window, group, tokens, code_channels, ffn_ratio, ffn_kernel,
            exit_convs, upsampler, checkpointed, self_ensemble: As for :class:`ATD`.
        tile, tile_overlap: As for :class:`ATD`; as published, images larger than 64 pixels are tiled.
        fke_window: Windows of the estimators in pixels where a map is larger; None for none. Hard windows in training,
            blended ones in evaluation mode. Of no effect with tiles of at most this size.
        fke_overlap: Pixels shared by neighbouring estimator windows.

    Shape:
        As for :class:`ATD`, but the image is not continued inside: windows at the bottom and right are moved back.

    Raises:
        ValueError: Options that do not fit together; the message names them.
    """

    @with_arguments_of(ATD)
    def __init__(
        self,
        *,
        tile: int | Literal['auto'] | None = 64,
        tile_overlap: int | None = 16,
        fke_window: int | None = 64,
        fke_overlap: int = 16,
        **others: Any,
    ) -> None:
        super().__init__(tile=tile, tile_overlap=tile_overlap, **others)
        width = self.shallow.out_channels
        self.estimators: TypedModuleList[FourierKernelEstimator] = TypedModuleList(
            FourierKernelEstimator(
                channels=width,
                image_channels=None,
                first=index == 0,
                window=fke_window,
                overlap=fke_overlap,
                rounded=False,
            )
            for index in range(len(self.blocks))
        )
        self._init_linear_layers()

    def _continued(self, x: Tensor) -> Tensor:
        return x

    def _run_blocks(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        residuals = None
        for block, estimator in zip(self.blocks, self.estimators, strict=True):
            _, feature, residuals = estimator(to_map(block(x, size), size), residuals=residuals)
            x = self.entry_norm(to_pixels(feature))
        return x
