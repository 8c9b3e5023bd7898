"""DeepRFTv2: decoupled multi-scale reversible UNets with Fourier kernel estimators (paper figures 3 (d) and 4)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.arguments import SMALLEST_TILE, check_deeprftv2, default_overlap, scaled_windows
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.memory import largest_that_fits
from deeprftv2_arch.nn.precision import require_float32
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.nn.reversible import LastOutput, Slots, run_reversible
from deeprftv2_arch.nn.stack import BlockStack
from deeprftv2_arch.nn.unet import LatentFusion, SubDecoder, SubEncoder
from deeprftv2_arch.nn.windows import Windows

_logger = logging.getLogger('deeprftv2_arch')

# Memory of a forward pass at its peak, as a number of full-resolution maps of the first level's width:
# benchmarks/large_images.py prints 17 for B; more, as local pooling computes in float64.
PEAK_MAPS = 24


class ScaleUNet(nn.Module):
    """What one column has at one scale: sub-encoder, sub-decoder, head, and the estimator as its tail."""

    def __init__(
        self,
        encoder: SubEncoder,
        fusion: LatentFusion | None,
        decoder: SubDecoder,
        head: nn.Conv2d,
        fke: FourierKernelEstimator | None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.fusion = fusion
        self.decoder = decoder
        self.head = head
        self.fke = fke

    @property
    def feature(self) -> str:
        """The map that is handed to the next column and to the finer scale: ``f`` of the estimator, ``d`` without."""
        return 'd' if self.fke is None else 'f'


class Column(nn.Module):
    """One decoupled multi-scale UNet. ``unets`` holds the scales, full resolution first."""

    def __init__(self, unets: Sequence[ScaleUNet]) -> None:
        super().__init__()
        self.unets = nn.ModuleList(unets)

    def run(self, slots: Slots) -> None:
        """Encode from fine to coarse, then decode from coarse to fine; scale n reads and writes the maps ``n.*``."""
        for scale, unet in enumerate(self.unets):
            finer = str(scale - 1) if scale else None
            unet.encoder.run(slots, str(scale), f'image{scale}', f'{scale}.{unet.feature}', finer)
        for scale, unet in reversed(list(enumerate(self.unets))):
            name, image = str(scale), f'image{scale}'
            if unet.fusion is not None:
                latent = f'{scale}.s{len(unet.encoder.levels)}'
                slots.replace(latent, unet.fusion, f'{scale + 1}.{unet.feature}', latent)
            unet.decoder.run(slots, name)
            slots.emit(name, unet.head, f'{scale}.d', plus=image)
            if unet.fke is not None:
                unet.fke.run(slots, name, f'{scale}.d', image)


@ARCH_REGISTRY.register()
class DeepRFTv2(nn.Module):
    """The deblurring network of the paper. The defaults are DeepRFTv2-B as trained on GoPro.

    Args:
        in_channels: Channels K of the image.
        width: Channels C of the first level; every level has twice the channels of the one before.
        num_blocks: Blocks of each level, fine to coarse; encoder and decoder have the same.
        block_types: One list per scale, full resolution first, with one name per level: ``naf``, ``nafevs``,
            ``localnaf``, ``localnafevs``. DeepRFTv2-S has ``naf`` everywhere.
        num_columns: UNets in a row ("num" of the paper's table 6).
        reversible: Recompute in backward instead of storing; same results, less memory, about a third more time.
        fke: Whether the columns end in Fourier kernel estimators.
        train_size: Side of the last training crops in pixels: the channel attention pools over a sliding window of 1.5
            times as much, so that a whole image meets the statistics of training (TLC). None pools over the whole map.
        scan_window: Windows of the selective scan of ``localnafevs`` at full resolution in pixels; None for none.
        fke_window: Windows of the estimators at full resolution in pixels, where the image is larger; None for none.
            Hard windows in training, blended ones in evaluation mode.
        fke_overlap: Pixels shared by neighbouring estimator windows at full resolution.
        tile: In evaluation mode, run larger images in blended tiles of this many pixels; None for the whole image,
            ``auto`` for the largest tiles that fit in memory.
        tile_overlap: Pixels shared by neighbouring tiles; None for a quarter of the tile.
        zero_init_tails: Start with zero in the last convolution of every output, so that the untrained network returns
            its input. Not published; shortens short trainings.

    Shape:
        (N, K, H, W), RGB in [0, 1], any H, W >= 1 -> (N, K, H, W), not clamped. Inside, the image is padded with zeros
        at the bottom and the right to the next multiple of :attr:`size_multiple`, as in the published validation.

    Raises:
        ValueError: Options that do not fit together; the message names them.
    """

    def __init__(
        self,
        in_channels: int = 3,
        width: int = 48,
        num_blocks: Sequence[int] = (1, 4, 8),
        block_types: Sequence[Sequence[str]] = (('naf', 'nafevs', 'nafevs'), ('naf', 'naf', 'naf')),
        num_columns: int = 2,
        reversible: bool = True,
        fke: bool = True,
        train_size: int | None = None,
        scan_window: int | None = None,
        fke_window: int | None = None,
        fke_overlap: int = 0,
        tile: int | Literal['auto'] | None = None,
        tile_overlap: int | None = None,
        zero_init_tails: bool = False,
    ) -> None:
        check_deeprftv2(
            in_channels,
            width,
            num_blocks,
            block_types,
            num_columns,
            train_size,
            scan_window,
            fke_window,
            fke_overlap,
            tile,
            tile_overlap,
        )
        super().__init__()
        levels, scales = len(num_blocks), len(block_types)
        self.num_levels, self.num_scales, self.reversible = levels, scales, reversible
        self.size_multiple = 2 ** (levels + scales - 2)
        self.tile, self.tile_overlap, self.train_size = tile, tile_overlap, train_size
        # How the last image was restored in evaluation mode, in words.
        self.test_mode = ''
        # Bytes per pixel at the peak of a forward pass.
        self.cost = PEAK_MAPS * width * 4
        widths = [width * 2**level for level in range(levels)]

        def shrink(pixels: int | None, factor: int) -> int | None:
            return None if pixels is None else pixels // factor

        def make_unet(column: int, scale: int) -> ScaleUNet:
            def make_stack(channels: int, depth: int, level: int) -> BlockStack:
                factor = 2 ** (scale + level)
                size = None if train_size is None else train_size / factor
                return BlockStack(block_types[scale][level], channels, depth, size, shrink(scan_window, factor))

            first = column == 0
            return ScaleUNet(
                SubEncoder(in_channels, widths, num_blocks, make_stack, is_first=first, has_finer=scale > 0),
                LatentFusion(width, widths[-1], 2 ** (levels - 2)) if scale < scales - 1 else None,
                SubDecoder(widths, num_blocks, make_stack),
                nn.Conv2d(width, in_channels, 3, padding=1),
                FourierKernelEstimator(width, in_channels, first, shrink(fke_window, 2**scale), fke_overlap // 2**scale)
                if fke
                else None,
            )

        self.columns = nn.ModuleList(
            Column([make_unet(column, scale) for scale in range(scales)]) for column in range(num_columns)
        )
        if zero_init_tails:
            for unet in (unet for column in self.columns for unet in column.unets):
                for tail in (unet.head, unet.fke.tail) if fke else (unet.head,):
                    nn.init.zeros_(tail.weight)
                    nn.init.zeros_(tail.bias)

    def forward(self, x: Tensor, return_all: bool = False) -> Tensor | tuple[list[Tensor], ...]:
        """Restore an image.

        Args:
            x: (N, K, H, W) in [0, 1].
            return_all: Return every output that training supervises.

        Returns:
            The restored (N, K, H, W): the last output of the last column. With ``return_all`` one list per scale, full
            resolution first; scale n holds (N, K, H // 2^n, W // 2^n) images in the order head of column 0, estimator
            of column 0, head of column 1, ... The last of the first list is the restored image.
        """
        require_float32(x, self.columns[0].unets[0].head.weight)
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.size_multiple, 0, -height % self.size_multiple))
        # Every norm and 1x1 convolution works pixel by pixel: channels-last spares them a copy each.
        padded = padded.contiguous(memory_format=torch.channels_last)
        images = image_pyramid(padded, self.num_scales)
        outputs = self._restore(images, return_all) if self.training else self._evaluate(images, return_all)
        outputs = tuple(
            [image[..., : max(height >> scale, 1), : max(width >> scale, 1)].contiguous() for image in scale_outputs]
            for scale, scale_outputs in enumerate(outputs)
        )
        return outputs if return_all else outputs[0][-1]

    def _run_columns(self, slots: Slots) -> None:
        for column in self.columns:
            column.run(slots)

    def _evaluate(self, images: list[Tensor], return_all: bool) -> list[list[Tensor]]:
        """Restore whole or in tiles, as the options say; the log tells which, once."""
        height, width = images[0].shape[-2:]

        def run(size: int) -> list[list[Tensor]]:
            tiles = self._tiles(size)
            if tiles[0].covers(height, width):
                self._tell('whole images')
                return self._restore(images, return_all)
            self._tell(f'blended tiles of {tiles[0].size} pixels that share {tiles[0].overlap}')
            return self._restore_tiles(images, tiles, return_all)

        if self.tile == 'auto':
            largest = max(height, width)
            return largest_that_fits(run, largest, SMALLEST_TILE, self.size_multiple, self.cost, images[0].device)
        return run(self.tile or max(height, width))

    def _tell(self, mode: str) -> None:
        if self.train_size is not None:
            mode = f'{mode}, local pooling (TLC) for training size {self.train_size}'
        if mode != self.test_mode:
            self.test_mode = mode
            _logger.info('Restoring %s.', mode)

    def _restore(self, images: list[Tensor], return_all: bool) -> list[list[Tensor]]:
        maps = {f'image{scale}': image for scale, image in enumerate(images)}
        if self.reversible and torch.is_grad_enabled():
            emitted = run_reversible(self._run_columns, maps, self)
        elif return_all or self.training:
            slots = Slots(maps)
            self._run_columns(slots)
            emitted = slots.emitted
        else:
            slots = LastOutput(maps)
            self._run_columns(slots)
            return [[slots.output()]]
        return [[image for label, image in emitted if label == str(scale)] for scale in range(self.num_scales)]

    def _restore_tiles(self, images: list[Tensor], tiles: list[Windows], return_all: bool) -> list[list[Tensor]]:
        """Tile every scale of the pyramid of the whole image, restore tile by tile, and blend every output."""
        sizes = [image.shape[-2:] for image in images]
        tiled = (self._cut(image, windows) for image, windows in zip(images, tiles, strict=True))
        restored = (self._restore(list(parts), return_all) for parts in zip(*tiled, strict=True))
        if not return_all:
            # One tile after the other: only the restored image grows with the image.
            return [[tiles[0].merge((outputs[0][-1] for outputs in restored), *sizes[0])]]
        return [
            [windows.merge(parts, *size) for parts in zip(*outputs, strict=True)]
            for windows, size, outputs in zip(tiles, sizes, zip(*restored, strict=True), strict=True)
        ]

    @staticmethod
    def _cut(image: Tensor, windows: Windows) -> Iterator[Tensor]:
        for rows, columns in windows.slices(*image.shape[-2:]):
            yield image[..., rows, columns].contiguous(memory_format=torch.channels_last)

    def _tiles(self, size: int) -> list[Windows]:
        depth = (self.num_levels, self.num_scales)
        overlap = default_overlap(size, *depth) if self.tile_overlap is None else self.tile_overlap
        return [Windows(*window) for window in scaled_windows('tile', size, overlap, *depth)]
