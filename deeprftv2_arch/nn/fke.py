"""Fourier Kernel Estimator: predicts a blur kernel per channel in Fourier space and applies it (paper section 3.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.column_state import ColumnState, MapKey, MapKind, Scaling, couple
from deeprftv2_arch.nn.fke_design import LEVELS, EstimatorDesign, make_blocks
from deeprftv2_arch.nn.fourier import irfft2
from deeprftv2_arch.nn.modules import TypedModuleList
from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.pointwise import PointwiseConv2d, PointwiseFusion
from deeprftv2_arch.nn.precision import at_least_float32
from deeprftv2_arch.nn.windows import Windows

PUBLISHED = EstimatorDesign()


class FKEOutput(NamedTuple):
    """What a Fourier kernel estimator returns.

    Attributes:
        image: (N, K, H, W), the blurred image plus the predicted residual, K image channels; None if the estimator was
            built without.
        feature: (N, C, H, W), the convolved feature, handed to the next column and to the next finer scale.
        residuals: Four (M, C, h, w // 2 + 1) maps on the half spectrum, for the next column's estimator; (M, C, h, w)
            maps for a spatial one. M is N, or N times the number of windows; h x w is the size of the map or window,
            rounded up to even numbers.
    """

    image: Tensor | None
    feature: Tensor
    residuals: tuple[Tensor, ...]


class FourierWindows(nn.Module):
    """Where the spectrum is taken: over the whole map, or over windows of it. Sides are made even first.

    An odd side is continued by one mirrored pixel, as published. (The maps of DeepRFTv2 have even sides.)

    Args:
        size: Side of a window in pixels; a map not larger than this is taken whole. None for never.
        overlap: Pixels shared by neighbours in evaluation mode, where windows are blended. In training mode they are
            hard.
        rounded: See :class:`Windows`.
    """

    def __init__(self, size: int | None, overlap: int, rounded: bool = True) -> None:
        super().__init__()
        self.hard = None if size is None else Windows(size)
        self.blended = None if size is None else Windows(size, overlap, rounded)

    def _current(self, height: int, width: int) -> Windows | None:
        windows = self.hard if self.training else self.blended
        return None if windows is None or windows.covers(height, width) else windows

    def split(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (M, C, h, w), h and w even."""
        windows = self._current(*x.shape[-2:])
        parts = x if windows is None else windows.split(x)
        for axis in (-2, -1):
            length = parts.shape[axis]
            if length % 2:
                # The last pixel but one; a single pixel mirrors itself.
                parts = torch.cat([parts, parts.narrow(axis, max(length - 2, 0), 1)], dim=axis)
        return parts

    def merge(self, parts: Tensor, height: int, width: int) -> Tensor:
        """(M, C, h, w) -> (N, C, height, width)."""
        windows = self._current(height, width)
        if windows is None:
            return parts[..., :height, :width]
        return windows.merge(parts[..., : min(height, windows.size), : min(width, windows.size)], height, width)


def rfft2(x: Tensor) -> Tensor:
    """Half spectrum, DC at index 0, not normalised; at least in float32, also under autocast."""
    return torch.fft.rfft2(at_least_float32(x))


class SpectrumEmbedding(nn.Module):
    """r_0: the half spectrum of the feature as real channels.

    Args:
        source_channels: Channels S of what the kernel is estimated from.
        channels: Channels C of r_0.
        windows: Where the spectrum is taken.

    Shape:
        (N, S, H, W) -> (M, C, h, w // 2 + 1).
    """

    def __init__(self, source_channels: int, channels: int, windows: FourierWindows) -> None:
        super().__init__()
        self.project = PointwiseConv2d(source_channels, channels, bias=False)
        self.windows = windows
        self.mix = PointwiseFusion(2 * channels, channels, bias=False)

    def forward(self, source: Tensor) -> Tensor:
        spectrum = rfft2(self.windows.split(self.project(source)))
        return self.mix(spectrum.real, spectrum.imag)


class SpatialEmbedding(nn.Module):
    """r_0 of an estimator that stays in the image plane (table 7, row 2): the feature itself, projected twice.

    Args:
        source_channels: Channels S of what the kernel is estimated from.
        channels: Channels C of r_0.
        windows: The windows that the spectrum is taken in later.

    Shape:
        (N, S, H, W) -> (M, C, h, w).
    """

    def __init__(self, source_channels: int, channels: int, windows: FourierWindows) -> None:
        super().__init__()
        self.project = PointwiseConv2d(source_channels, channels, bias=False)
        self.windows = windows
        self.mix = PointwiseConv2d(channels, channels, bias=False)

    def forward(self, source: Tensor) -> Tensor:
        return self.mix(at_least_float32(self.windows.split(self.project(source))))


class ResidualLevel(nn.Module):
    """R_i of the sub-resnet (equation 16): fuse with the previous column's next level, then its blocks.

    Args:
        channels: Number of channels C.
        fused: Whether the previous column's r_{i+1} is concatenated ("skip" of table 7).
        entry: What is applied to the first input before all else; used by the first level.
        design: Its blocks; a VSBlock in the published network.
        level: Place among the levels, from 0.

    Shape:
        (M, C, h, w), (M, C, h, w) or None -> (M, C, h, w).
    """

    def __init__(
        self,
        channels: int,
        fused: bool,
        entry: nn.Module | None = None,
        design: EstimatorDesign = PUBLISHED,
        level: int = 0,
    ) -> None:
        super().__init__()
        self.entry = entry if entry is not None else nn.Identity()
        self.fuse = PointwiseFusion(2 * channels, channels) if fused else None
        self.block = make_blocks(design, channels, level)

    def forward(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        x = self.entry(x)
        if self.fuse is not None:
            x = self.fuse(x, previous)
        return self.block(x)


class KernelHead(nn.Module):
    """The kernel's half spectrum from the last residual level.

    Args:
        channels: Number of channels C.
        spatial: Whether the levels are in the image plane; then the kernel is predicted there and transformed.

    Shape:
        (M, C, h, w // 2 + 1) real -> the same shape, complex; (M, C, h, w) -> (M, C, h, w // 2 + 1) if spatial.
    """

    def __init__(self, channels: int, spatial: bool = False) -> None:
        super().__init__()
        self.norm = LayerNorm2d(channels)
        self.spatial = spatial
        self.project = PointwiseConv2d(channels, channels if spatial else 2 * channels)

    def forward(self, residual: Tensor) -> Tensor:
        kernel = at_least_float32(self.project(self.norm(residual)))
        return rfft2(kernel) if self.spatial else torch.complex(*kernel.chunk(2, dim=1))


class KernelConvolution(nn.Module):
    """Convolve the feature with the estimated kernel in Fourier space and fuse the two (equation 8).

    Args:
        channels: Channels C of the feature.
        windows: Where the spectrum is taken.
        target_channels: Channels T of what is convolved; None for C.
        design: How the estimator is built.

    Shape:
        Feature (N, C, H, W), last residual (M, C, h, w // 2 + 1), and (N, T, H, W) to be convolved, None for the
        feature -> (N, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        windows: FourierWindows,
        target_channels: int | None = None,
        design: EstimatorDesign = PUBLISHED,
    ) -> None:
        super().__init__()
        self.project = PointwiseConv2d(target_channels or channels, channels, bias=False)
        self.windows = windows
        self.head = KernelHead(channels, spatial=design.domain == 'spatial')
        self.adds = design.operation == 'add'
        self.fuse = PointwiseFusion(2 * channels, channels, bias=False)

    def forward(self, feature: Tensor, residual: Tensor, target: Tensor | None = None) -> Tensor:
        parts = self.windows.split(self.project(feature if target is None else target))
        spectrum, kernel = rfft2(parts), self.head(residual)
        result = spectrum + kernel if self.adds else spectrum * kernel
        convolved = self.windows.merge(irfft2(result, *parts.shape[-2:]), *feature.shape[-2:])
        return self.fuse(convolved.to(feature.dtype), feature)


class FourierKernelEstimator(nn.Module):
    """Predict a kernel of the feature's own size, one per channel, and the residual of the blurred image.

    No kernel is supervised. The estimator takes the feature to Fourier space, reads it there with four residual
    VSBlocks, predicts the kernel's spectrum K, and returns the feature convolved with it:
    ``image + conv(fuse([irfft2(K * rfft2(q(feature))), feature]))``.

    A chain of estimators, one per column, passes its four residual maps on; every level adds the map of the column
    before times a learned scaling, which can be inverted (equations 16 and 17).

    Args:
        channels: Channels C of the feature.
        image_channels: Channels K of the image; None for an estimator inside a network, which returns the convolved
            feature alone and has no last convolution.
        first: Whether this is the first of a chain: then no residuals come in.
        window: Take the spectrum in windows of this many pixels where the map is larger; None for the whole map.
        overlap: Pixels shared by neighbouring windows in evaluation mode.
        rounded: Round their blending weights to float32 for maps in float64 too, like the published deblurring network.
        design: What the paper's ablations vary.
        source_channels: Channels of what the kernel is estimated from, if that is not the feature.
        target_channels: Channels of what is convolved, if that is not the feature.

    Example:
        >>> estimator = FourierKernelEstimator(channels=8)
        >>> output = estimator(torch.rand(1, 8, 12, 10), torch.rand(1, 3, 12, 10))
        >>> output.image.shape, output.residuals[0].shape
        (torch.Size([1, 3, 12, 10]), torch.Size([1, 8, 12, 6]))

    Differences from the paper's text that the released structure has: no ReLU on the spectrum (the non-linearities are
    those of the VSBlock), separate 1x1 projections for the two branches, no fusion in the last level.
    """

    def __init__(
        self,
        channels: int,
        image_channels: int | None = 3,
        first: bool = True,
        window: int | None = None,
        overlap: int = 0,
        rounded: bool = True,
        *,
        design: EstimatorDesign = PUBLISHED,
        source_channels: int | None = None,
        target_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.first = first
        windows = FourierWindows(window, overlap, rounded)
        embedding = SpatialEmbedding if design.domain == 'spatial' else SpectrumEmbedding
        last = LEVELS - 1
        self.levels: TypedModuleList[ResidualLevel] = TypedModuleList(
            ResidualLevel(
                channels,
                fused=design.skip and not first and index < last,
                entry=embedding(source_channels or channels, channels, windows) if index == 0 else None,
                design=design,
                level=index,
            )
            for index in range(LEVELS)
        )
        self.scalings: TypedModuleList[Scaling] = TypedModuleList(Scaling(channels) for _ in range(LEVELS))
        self.convolution = KernelConvolution(channels, windows, target_channels, design)
        self.tail = None if image_channels is None else nn.Conv2d(channels, image_channels, 3, padding=1)

    def update(
        self,
        state: ColumnState,
        scale: int,
        source_kind: MapKind = MapKind.DECODED,
        target_kind: MapKind = MapKind.DECODED,
    ) -> None:
        """Update the residual maps and the deblurred feature of a scale, and output the restored image.

        Args:
            state: The maps.
            scale: The scale to work on.
            source_kind: The map that the kernel is estimated from.
            target_kind: The map that is convolved; the decoded one is fused with the result in any case.
        """
        feature, source = MapKey(scale, MapKind.DECODED), MapKey(scale, source_kind)
        convolved = () if target_kind is MapKind.DECODED else (MapKey(scale, target_kind),)
        for index, (level, scaling) in enumerate(zip(self.levels, self.scalings, strict=True)):
            target = MapKey(scale, MapKind.RESIDUAL, index)
            previous = None if level.fuse is None else MapKey(scale, MapKind.RESIDUAL, index + 1)
            state.coupled_update(target, scaling, level, source, previous)
            source = target
        deblurred = MapKey(scale, MapKind.DEBLURRED)
        state.replace(deblurred, self.convolution, feature, source, *convolved)
        if self.tail is not None:
            state.output(self.tail, deblurred, MapKey(scale, MapKind.IMAGE))

    def forward(
        self,
        feature: Tensor,
        image: Tensor | None = None,
        residuals: tuple[Tensor, ...] | None = None,
        *,
        source: Tensor | None = None,
        target: Tensor | None = None,
    ) -> FKEOutput:
        """Estimate and apply the kernel.

        Args:
            feature: (N, C, H, W).
            image: (N, K, H, W), the blurred image; None for an estimator without an image.
            residuals: The four maps of the estimator before; None for the first of a chain.
            source: (N, S, H, W), what the kernel is estimated from; None for the feature.
            target: (N, T, H, W), what is convolved; None for the feature.

        Raises:
            ValueError: Residuals given to the first estimator of a chain, or missing for a later one; an image given to
                an estimator without one, or missing.
        """
        if self.first != (residuals is None):
            raise ValueError(
                'the first estimator of a chain takes no residuals; build later ones with first=False'
                if self.first
                else 'an estimator built with first=False needs the residuals of the one before it'
            )
        if (self.tail is None) != (image is None):
            raise ValueError(
                'this estimator was built with image_channels=None and takes no image'
                if self.tail is None
                else 'this estimator needs the blurred image; for a feature alone build it with image_channels=None'
            )
        current, updated = feature if source is None else source, []
        for index, (level, scaling) in enumerate(zip(self.levels, self.scalings, strict=True)):
            old = None if residuals is None else residuals[index]
            previous = None if residuals is None or level.fuse is None else residuals[index + 1]
            current = couple(level(current, previous), scaling, old)
            updated.append(current)
        deblurred = self.convolution(feature, current, target)
        restored = None if self.tail is None else self.tail(deblurred) + image
        return FKEOutput(restored, deblurred, tuple(updated))
