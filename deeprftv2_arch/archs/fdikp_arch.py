"""FDIKP, our reading: inverse kernels out of space and frequency, mixed per pixel, from coarse to fine.

The paper's method section was not at hand. `docs/fdikp.md` says what is known, and what is assumed here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.archs.limits import check_number_of_blocks, default_overlap, scaled_windows
from deeprftv2_arch.nn.fdikp.backbone import FeatureUNet
from deeprftv2_arch.nn.fdikp.inverse_kernels import DualBranchInverseKernels
from deeprftv2_arch.nn.fdikp.position_adaptive import PositionAdaptiveConvolution
from deeprftv2_arch.nn.fdikp.recurrence import DualDomainScaleRecurrence, State, enlarged
from deeprftv2_arch.nn.memory import SMALLEST_TILE, largest_that_fits
from deeprftv2_arch.nn.precision import require_float32
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.nn.tta import mirror_pad
from deeprftv2_arch.nn.windows import Windows

_logger = logging.getLogger('deeprftv2_arch')

# Memory of a forward pass at its peak, as a number of full-resolution maps of the first level's width: on the CPU it is
# 12 for squares of 256 to 512 pixels; more, for what an allocator keeps.
PEAK_MAPS = 16


@ARCH_REGISTRY.register()
class FDIKP(nn.Module):
    """Defocus deblurring with predicted inverse kernels: our reading of FDIKP, not the authors' network.

    At every scale, from coarse to fine and with the same weights: features of the blurred image, inverse kernels
    predicted from them, the blurred image and the coarser result convolved with these kernels, mixed per pixel, and
    both fused by a recurrent cell.

    Args:
        in_channels: Channels K of the image.
        width: Channels C of the features.
        num_blocks: NAFBlocks of each level of the features' U-Net, fine to coarse.
        num_scales: Scales; each coarser one has half the resolution.
        num_kernels: Inverse kernels M that are predicted for an image at each scale.
        kernel_size: Taps of a kernel per side, odd.
        spectrum_tile: Side of the tiles that the frequency branch takes its spectrum over, even, in pixels.
        spectral_channels: Channels that this spectrum is taken of.
        branches: What predicts the kernels: ``both`` branches, ``spatial`` or ``frequency``.
        signed_gain: Let gains of the frequency branch be negative, as the inverse of a disk needs.
        dilations: Apply every kernel with each of these distances between taps.
        domains: Where the recurrent cell works: in ``both`` domains, ``spatial`` or ``frequency``.
        recurrent: Hand the cell's state from scale to scale.
        state_channels: Channels of that state.
        spectral_window: Windows of the cell's spectrum at full resolution in pixels, where the image is larger; None
            for the whole image.
        tile: In evaluation mode, run larger images in blended tiles of this many pixels; None for the whole image,
            ``auto`` for the largest tiles that fit in memory. Each tile has kernels of its own.
        tile_overlap: Pixels shared by neighbouring tiles; None for a quarter of the tile.

    Shape:
        (N, K, H, W), RGB in [0, 1], any H, W >= 1 -> (N, K, H, W), not clamped. Inside, the image is mirrored at the
        bottom and the right to the next multiple of :attr:`size_multiple`. Before training the network returns its
        input.

    Raises:
        ValueError: Options that do not fit together; the message names them.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: int = 48,
        num_blocks: Sequence[int] = (2, 4, 6),
        num_scales: int = 3,
        num_kernels: int = 8,
        kernel_size: int = 15,
        spectrum_tile: int = 64,
        spectral_channels: int = 16,
        branches: Literal['both', 'spatial', 'frequency'] = 'both',
        signed_gain: bool = False,
        dilations: Sequence[int] = (1,),
        domains: Literal['both', 'spatial', 'frequency'] = 'both',
        recurrent: bool = True,
        state_channels: int = 48,
        spectral_window: int | None = None,
        tile: int | Literal['auto'] | None = None,
        tile_overlap: int | None = None,
    ) -> None:
        _check_sizes(in_channels, width, num_blocks, num_scales, state_channels)
        super().__init__()
        self.num_levels, self.num_scales, self.recurrent = len(num_blocks), num_scales, recurrent
        self.size_multiple = 2 ** (self.num_levels + num_scales - 2)
        self.tile, self.tile_overlap = tile, tile_overlap
        if tile is not None:
            self._tiles(SMALLEST_TILE if tile == 'auto' else tile)
        # How the last image was restored in evaluation mode, in words.
        self.test_mode = ''
        # Bytes per pixel at the peak of a forward pass.
        self.cost = PEAK_MAPS * width * 4

        self.features = FeatureUNet(in_channels, width, num_blocks)
        self.kernels = DualBranchInverseKernels(
            width,
            num_kernels=num_kernels,
            kernel_size=kernel_size,
            spectrum_tile=spectrum_tile,
            spectral_channels=spectral_channels,
            branches=branches,
            signed_gain=signed_gain,
        )
        self.deconvolve_blurred = PositionAdaptiveConvolution(width, num_kernels, dilations)
        self.deconvolve_previous = PositionAdaptiveConvolution(width, num_kernels, dilations)
        self.fuse = DualDomainScaleRecurrence(
            width,
            stack_size=self.deconvolve_blurred.stack_size,
            image_channels=in_channels,
            state_channels=state_channels,
            domains=domains,
            # The state has half the resolution of its scale.
            spectral_window=None if spectral_window is None else max(spectral_window // 2, 1),
        )

    def forward(self, x: Tensor, return_all: bool = False) -> Tensor | tuple[list[Tensor], ...]:
        """Restore an image.

        Args:
            x: (N, K, H, W) in [0, 1].
            return_all: Return every output that training supervises.

        Returns:
            The restored (N, K, H, W). With ``return_all`` one list per scale, full resolution first; scale n holds the
            blurred image deconvolved and the fused image, (N, K, H // 2^n, W // 2^n). The last of the first list is
            the restored image.
        """
        require_float32(x, self.features.entry.weight)
        height, width = x.shape[-2:]
        padded = mirror_pad(x, self.size_multiple).contiguous(memory_format=torch.channels_last)
        images = image_pyramid(padded, self.num_scales)
        whole = self._restore(images) if self.training else self._evaluate(images, return_all)
        outputs = tuple(
            [image[..., : max(height >> scale, 1), : max(width >> scale, 1)].contiguous() for image in scale_outputs]
            for scale, scale_outputs in enumerate(whole)
        )
        return outputs if return_all else outputs[0][-1]

    def _restore(self, images: list[Tensor]) -> list[list[Tensor]]:
        """Restore every scale of a pyramid, coarse to fine; the outputs are in the pyramid's order."""
        outputs: list[list[Tensor]] = []
        restored = images[-1]
        state: State | None = None
        for image in reversed(images):
            previous = enlarged(restored, *image.shape[-2:])
            deconvolved, restored, state = self._restore_scale(image, previous, state if self.recurrent else None)
            outputs.insert(0, [deconvolved, restored])
        return outputs

    def _restore_scale(self, image: Tensor, previous: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        feature = self.features(image)
        kernels = self.kernels(feature)
        blurred = self.deconvolve_blurred(image, kernels, feature)
        coarser = self.deconvolve_previous(previous, kernels, feature)
        restored, state = self.fuse(feature, blurred.image, blurred.stack, coarser.stack, state)
        return blurred.image, restored, state

    def _evaluate(self, images: list[Tensor], return_all: bool) -> list[list[Tensor]]:
        """Restore whole or in tiles, as the options say; the log tells which, once."""
        height, width = images[0].shape[-2:]

        def run(size: int) -> list[list[Tensor]]:
            if size >= max(height, width):
                self._tell('whole images')
                return self._restore(images)
            tiles = self._tiles(size)
            self._tell(f'blended tiles of {tiles[0].size} pixels that share {tiles[0].overlap}')
            return self._restore_tiles(images, tiles, return_all)

        if self.tile == 'auto':
            largest = max(height, width)
            return largest_that_fits(run, largest, SMALLEST_TILE, self.size_multiple, self.cost, images[0].device)
        return run(self.tile or max(height, width))

    def _tell(self, mode: str) -> None:
        if mode != self.test_mode:
            self.test_mode = mode
            _logger.info('Restoring %s.', mode)

    def _tiles(self, size: int) -> list[Windows]:
        overlap = default_overlap(size, self.size_multiple) if self.tile_overlap is None else self.tile_overlap
        return scaled_windows('tile', size, overlap, self.size_multiple, self.num_scales)

    def _restore_tiles(self, images: list[Tensor], tiles: list[Windows], return_all: bool) -> list[list[Tensor]]:
        """Tile every scale of the pyramid of the whole image, restore tile by tile, and blend the outputs."""
        places = [windows.slices(*image.shape[-2:]) for windows, image in zip(tiles, images, strict=True)]

        def restored(place: tuple[tuple[slice, slice], ...]) -> list[list[Tensor]]:
            parts = [image[..., rows, columns] for image, (rows, columns) in zip(images, place, strict=True)]
            return self._restore([part.contiguous(memory_format=torch.channels_last) for part in parts])

        every_tile = (restored(place) for place in zip(*places, strict=True))
        if not return_all:
            # One tile after the other: only the restored image grows with the image.
            return [[tiles[0].merge((outputs[0][-1] for outputs in every_tile), *images[0].shape[-2:])]]
        merged = []
        for scale, outputs in enumerate(zip(*every_tile, strict=True)):
            size = images[scale].shape[-2:]
            merged.append([tiles[scale].merge(parts, *size) for parts in zip(*outputs, strict=True)])
        return merged


def _check_sizes(in_channels: int, width: int, num_blocks: Sequence[int], num_scales: int, state_channels: int) -> None:
    if min(in_channels, width, num_scales, state_channels) < 1:
        raise ValueError(
            'in_channels, width, num_scales and state_channels must be at least 1, got '
            f'{in_channels}, {width}, {num_scales} and {state_channels}'
        )
    if not num_blocks or min(num_blocks) < 0:
        raise ValueError(f'num_blocks needs a number per level, none of them negative, got {list(num_blocks)}')
    check_number_of_blocks('num_blocks', sum(num_blocks))
