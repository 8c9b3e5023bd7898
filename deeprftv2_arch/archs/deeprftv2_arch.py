"""DeepRFTv2: decoupled multi-scale reversible UNets with Fourier kernel estimators (paper figures 3 (d) and 4)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.archs.column import IMAGE_KINDS, Column, ScaleUNet, fke_map
from deeprftv2_arch.archs.limits import (
    check_layout,
    check_levels,
    check_number_of_blocks,
    check_shape,
    default_overlap,
    scaled_windows,
)
from deeprftv2_arch.nn.column_state import ColumnState, LastOutputState, MapKey, MapKind
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.fke_design import EstimatorDesign
from deeprftv2_arch.nn.memory import SMALLEST_TILE, largest_that_fits
from deeprftv2_arch.nn.modules import TypedModuleList
from deeprftv2_arch.nn.precision import require_float32
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.nn.reversible import run_reversible
from deeprftv2_arch.nn.stack import BlockStack
from deeprftv2_arch.nn.unet import LatentFusion, SubDecoder, SubEncoder
from deeprftv2_arch.nn.windows import Windows

_logger = logging.getLogger('deeprftv2_arch')

# Memory of a forward pass at its peak, as a number of full-resolution maps of the first level's width:
# benchmarks/large_images.py prints 17 for B; more, as local pooling computes in float64.
PEAK_MAPS = 24


def _shrink(pixels: int | None, factor: int) -> int | None:
    return None if pixels is None else pixels // factor


@ARCH_REGISTRY.register()
class DeepRFTv2(nn.Module):
    """The deblurring network of the paper. The defaults are DeepRFTv2-B as trained on GoPro.

    Args:
        in_channels: Channels K of the image.
        width: Channels C of the first level; every level has twice the channels of the one before.
        num_blocks: Blocks of each level, fine to coarse; encoder and decoder have the same.
        block_types: One list per scale, full resolution first, with one name per level: ``naf``, ``nafevs``,
            ``localnaf``, ``localnafevs``. DeepRFTv2-S has ``naf`` everywhere.
        layout: ``dms``, decoupled scales: a UNet for each list of ``block_types``. ``mimo``: one UNet that takes in and
            gives out an image at every level (table 6, row 2); it has one list.
        num_columns: UNets in a row ("num" of the paper's table 6).
        reversible: Recompute in backward instead of storing; same results, less memory, about a third more time.
        fke: Whether the columns end in Fourier kernel estimators.
        train_size: Side of the last training crops in pixels: the channel attention pools over a sliding window of 1.5
            times as much, so that a whole image meets the statistics of training (TLC). None pools over the whole map.
        scan_window: Windows of the selective scan of ``localnafevs`` at full resolution in pixels; None for none.
        fke_window: Windows of the estimators at full resolution in pixels, where the image is larger; None for none.
            Hard windows in training, blended ones in evaluation mode.
        fke_overlap: Pixels shared by neighbouring estimator windows at full resolution.
        fke_block: Block of the estimators' levels: ``vs``, ``naf`` or ``res`` (table 6).
        fke_depths: Blocks of each of the four levels of an estimator.
        fke_domain: Where the kernel is predicted: on the half spectrum or in the image plane (table 7).
        fke_activation: Whether the ``res`` block has its ReLU (table 7).
        fke_input: What the kernel is estimated from: the decoder's last feature, the encoder's first, the first
            restored image, or the blurred image (table 7).
        fke_target: What is convolved with it; None for the same. The result is fused with the decoder's feature.
        fke_operation: Multiply the spectra of feature and kernel, or add them (table 7).
        fke_skip: Whether an estimator's levels are fused with those of the column before ("Skip" of table 7).
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
        *,
        in_channels: int = 3,
        width: int = 48,
        num_blocks: Sequence[int] = (1, 4, 8),
        block_types: Sequence[Sequence[str]] = (('naf', 'nafevs', 'nafevs'), ('naf', 'naf', 'naf')),
        layout: Literal['dms', 'mimo'] = 'dms',
        num_columns: int = 2,
        reversible: bool = True,
        fke: bool = True,
        train_size: int | None = None,
        scan_window: int | None = None,
        fke_window: int | None = None,
        fke_overlap: int = 0,
        fke_block: Literal['vs', 'naf', 'res'] = 'vs',
        fke_depths: Sequence[int] = (1, 1, 1, 1),
        fke_domain: Literal['fourier', 'spatial'] = 'fourier',
        fke_activation: bool = True,
        fke_input: Literal['decoder', 'encoder', 'restored', 'image'] = 'decoder',
        fke_target: Literal['decoder', 'encoder', 'restored', 'image'] | None = None,
        fke_operation: Literal['multiply', 'add'] = 'multiply',
        fke_skip: bool = True,
        tile: int | Literal['auto'] | None = None,
        tile_overlap: int | None = None,
        zero_init_tails: bool = False,
    ) -> None:
        levels, scales = len(num_blocks), len(block_types)
        check_shape(num_blocks, block_types, num_columns=num_columns, width=width, in_channels=in_channels)
        check_layout(layout, scales)
        check_number_of_blocks('fke_depths', sum(fke_depths))
        size_multiple = 2 ** (levels + scales - 2)
        if fke_window is not None:
            scaled_windows('fke_window', fke_window, fke_overlap, size_multiple, scales)
        check_levels(block_types, train_size, scan_window)
        design = EstimatorDesign(
            block=fke_block,
            depths=tuple(fke_depths),
            domain=fke_domain,
            activation=fke_activation,
            operation=fke_operation,
            skip=fke_skip,
        )
        source_kind = fke_map('fke_input', fke_input)
        target_kind = source_kind if fke_target is None else fke_map('fke_target', fke_target)
        super().__init__()
        is_mimo = layout == 'mimo'
        # A MIMO-UNet has one scale of features and an image for each of its levels.
        self.num_images = levels if is_mimo else scales
        self.size_multiple, self.reversible = size_multiple, reversible
        self.tile, self.tile_overlap, self.train_size = tile, tile_overlap, train_size
        if tile is not None:
            self._tiles(SMALLEST_TILE if tile == 'auto' else tile)
        # How the last image was restored in evaluation mode, in words.
        self.test_mode = ''
        # Bytes per pixel at the peak of a forward pass.
        self.cost = PEAK_MAPS * width * 4
        widths = [width * 2**level for level in range(levels)]

        def make_unet(column: int, scale: int) -> ScaleUNet:
            def make_stack(channels: int, depth: int, level: int) -> BlockStack:
                factor = 2 ** (scale + level)
                size = None if train_size is None else train_size / factor
                return BlockStack(block_types[scale][level], channels, depth, size, _shrink(scan_window, factor))

            def make_fke() -> FourierKernelEstimator:
                return FourierKernelEstimator(
                    channels=width,
                    image_channels=in_channels,
                    first=column == 0,
                    window=_shrink(fke_window, 2**scale),
                    overlap=fke_overlap // 2**scale,
                    design=design,
                    source_channels=in_channels if source_kind in IMAGE_KINDS else None,
                    target_channels=in_channels if target_kind in IMAGE_KINDS else None,
                )

            is_coarsest = scale == scales - 1
            return ScaleUNet(
                encoder=SubEncoder(
                    image_channels=in_channels,
                    widths=widths,
                    depths=num_blocks,
                    make_stack=make_stack,
                    is_first=column == 0,
                    has_finer=scale > 0,
                    has_pyramid=is_mimo,
                ),
                fusion=None if is_coarsest else LatentFusion(width, widths[-1], 2 ** (levels - 2)),
                decoder=SubDecoder(widths, num_blocks, make_stack),
                head=nn.Conv2d(width, in_channels, 3, padding=1),
                fke=make_fke() if fke else None,
                fke_source=source_kind,
                fke_target=target_kind,
                coarse_heads=[nn.Conv2d(width, in_channels, 3, padding=1) for width in widths[1:]] if is_mimo else (),
            )

        self.columns: TypedModuleList[Column] = TypedModuleList(
            Column(make_unet(column, scale) for scale in range(scales)) for column in range(num_columns)
        )
        if zero_init_tails:
            self._zero_tails()

    @torch.no_grad()
    def _zero_tails(self) -> None:
        for column in self.columns:
            for unet in column.unets:
                for tail in unet.tails:
                    for parameter in tail.parameters():
                        parameter.zero_()

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
        images = image_pyramid(padded, self.num_images)
        outputs = self._restore(images, return_all) if self.training else self._evaluate(images, return_all)
        cropped = tuple(_crop(outputs[scale], height >> scale, width >> scale) for scale in range(len(outputs)))
        return cropped if return_all else cropped[0][-1]

    def _update(self, state: ColumnState) -> None:
        for column in self.columns:
            column.update(state)

    def _evaluate(self, images: list[Tensor], return_all: bool) -> list[list[Tensor]]:
        """Restore whole or in tiles, as the options say; the log tells which, once."""
        height, width = images[0].shape[-2:]

        def run(size: int) -> list[list[Tensor]]:
            tiles = self._tiles(size)
            if tiles[0].covers(height, width):
                self._log_mode('whole images')
                return self._restore(images, return_all)
            self._log_mode(f'blended tiles of {tiles[0].size} pixels that share {tiles[0].overlap}')
            return self._restore_tiles(images, tiles, return_all)

        if self.tile == 'auto':
            largest = max(height, width)
            return largest_that_fits(run, largest, SMALLEST_TILE, self.size_multiple, self.cost, images[0].device)
        return run(self.tile or max(height, width))

    def _log_mode(self, mode: str) -> None:
        if self.train_size is not None:
            mode = f'{mode}, local pooling (TLC) for training size {self.train_size}'
        if mode != self.test_mode:
            self.test_mode = mode
            _logger.info('Restoring %s.', mode)

    def _restore(self, images: list[Tensor], return_all: bool) -> list[list[Tensor]]:
        maps = {MapKey(scale, MapKind.IMAGE): image for scale, image in enumerate(images)}
        if self.reversible and torch.is_grad_enabled():
            outputs = run_reversible(self._update, maps, self)
        elif return_all or self.training:
            state = ColumnState(maps)
            self._update(state)
            outputs = state.outputs
        else:
            last_only = LastOutputState(maps)
            self._update(last_only)
            return [[last_only.last_output().image]]
        by_scale: list[list[Tensor]] = [[] for _ in images]
        for scale, image in outputs:
            by_scale[scale].append(image)
        return by_scale

    def _restore_tiles(self, images: list[Tensor], tiles: list[Windows], return_all: bool) -> list[list[Tensor]]:
        """Tile every scale of the pyramid of the whole image, restore tile by tile, and blend every output."""
        tiled = (self._cut(image, windows) for image, windows in zip(images, tiles, strict=True))
        restored = (self._restore(list(parts), return_all) for parts in zip(*tiled, strict=True))
        if not return_all:
            # One tile after the other: only the restored image grows with the image.
            return [[tiles[0].merge((outputs[0][-1] for outputs in restored), *images[0].shape[-2:])]]
        blended = []
        for image, windows, of_tiles in zip(images, tiles, zip(*restored, strict=True), strict=True):
            blended.append([windows.merge(parts, *image.shape[-2:]) for parts in zip(*of_tiles, strict=True)])
        return blended

    @staticmethod
    def _cut(image: Tensor, windows: Windows) -> Iterator[Tensor]:
        for rows, columns in windows.slices(*image.shape[-2:]):
            yield image[..., rows, columns].contiguous(memory_format=torch.channels_last)

    def _tiles(self, size: int) -> list[Windows]:
        multiple = self.size_multiple
        overlap = default_overlap(size, multiple) if self.tile_overlap is None else self.tile_overlap
        return scaled_windows('tile', size, overlap, multiple, self.num_images)


def _crop(images: list[Tensor], height: int, width: int) -> list[Tensor]:
    """Cut off what was padded; at least one pixel stays."""
    return [image[..., : max(height, 1), : max(width, 1)].contiguous() for image in images]
