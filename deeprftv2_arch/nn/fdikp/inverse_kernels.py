"""Dual-branch inverse kernel prediction: the kernels that undo the blur of an image, from its features."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.fdikp.spectrum import (
    continue_half_spectrum,
    frequency_coordinates,
    kernel_of_gain,
    log_periodogram,
)
from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.pointwise import PointwiseConv2d
from deeprftv2_arch.nn.precision import at_least_float32

Branches = Literal['both', 'spatial', 'frequency']
BRANCHES: tuple[Branches, ...] = ('both', 'spatial', 'frequency')

# The gain of a frequency stays within [1/10, 10]. A Wiener filter with a noise floor of 0.01 has gains up to 5.
LARGEST_GAIN = 10.0


def check_inverse_kernels(num_kernels: int, kernel_size: int, tile: int, spectral_channels: int, branches: str) -> None:
    """What must hold for the arguments of :class:`DualBranchInverseKernels`.

    Raises:
        ValueError: It does not; the message names the arguments.
    """
    if min(num_kernels, spectral_channels) < 1:
        raise ValueError(
            f'num_kernels and spectral_channels must be at least 1, got {num_kernels} and {spectral_channels}'
        )
    if kernel_size < 3 or not kernel_size % 2:
        raise ValueError(f'kernel_size must be odd and at least 3, got {kernel_size}')
    if tile % 2 or tile <= kernel_size:
        raise ValueError(f'spectrum_tile must be even and larger than kernel_size {kernel_size}, got {tile}')
    if branches not in BRANCHES:
        raise ValueError(f'branches must be one of {", ".join(BRANCHES)}, got {branches!r}')


class SpatialBranch(nn.Module):
    """Kernels from the mean of strided convolutions: taps with no form of their own.

    Args:
        channels: Channels C of the feature map.
        num_kernels, kernel_size: Number M of kernels, and their taps k per side.

    Shape:
        (N, C, H, W) -> code (N, 2C), changes of the unit pulse (N, M, k, k), zero at the start.
    """

    def __init__(self, channels: int, num_kernels: int, kernel_size: int) -> None:
        super().__init__()
        self.shape = (num_kernels, kernel_size, kernel_size)
        wide = 2 * channels
        self.encode = nn.Sequential(
            nn.Conv2d(channels, wide, 3, stride=2, padding=1),
            nn.Conv2d(wide, wide, 3, stride=2, padding=1),
            NAFBlock(wide),
            NAFBlock(wide),
        )
        last = nn.Linear(2 * wide, num_kernels * kernel_size**2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.taps = nn.Sequential(nn.Linear(wide, 2 * wide), nn.GELU(), last)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encode(feature).mean((-2, -1))
        taps = at_least_float32(self.taps(code))
        return code, taps.unflatten(1, self.shape)


class SpectralBlock(nn.Module):
    """Two convolutions over neighbouring frequencies and one of the mean of all, with a residual.

    Shape:
        (N, C, T, T // 2 + 1) -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3)
        self.context = PointwiseConv2d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first(continue_half_spectrum(x)) + self.context(x.mean((-2, -1), keepdim=True))
        return x + self.second(continue_half_spectrum(nn.functional.gelu(inner)))


class FrequencyBranch(nn.Module):
    """Kernels from the power spectrum of the features: a gain for every frequency, which makes symmetric kernels.

    Args:
        channels: Channels C of the feature map.
        num_kernels, kernel_size: Number M of kernels, and their taps k per side.
        tile: Side T of the tiles of the spectrum in pixels of the map.
        spectral_channels: Channels that the spectrum is taken of; the head on top has three times as many.
        signed: Gains may be negative and are not bounded, ``1 + G``, as the inverse of a disk needs, whose transform
            changes its sign. Otherwise they are ``10 ** tanh G``, positive and within [1/10, 10].

    Shape:
        (N, C, H, W) -> changes of the unit pulse (N, M, k, k), zero at the start.
    """

    def __init__(
        self,
        channels: int,
        num_kernels: int,
        kernel_size: int,
        *,
        tile: int,
        spectral_channels: int = 16,
        signed: bool = False,
    ) -> None:
        super().__init__()
        head_channels = 3 * spectral_channels
        self.kernel_size, self.tile, self.signed = kernel_size, tile, signed
        self.project = PointwiseConv2d(channels, spectral_channels)
        self.entry = nn.Conv2d(spectral_channels + 2, head_channels, 3)
        self.blocks = nn.Sequential(SpectralBlock(head_channels), SpectralBlock(head_channels))
        self.exit = PointwiseConv2d(head_channels, num_kernels)
        for last in self.exit.parameters():
            nn.init.zeros_(last)

    def gains(self, feature: Tensor) -> Tensor:
        """The gain of every frequency, 1 for DC: (N, C, H, W) -> (N, M, T, T // 2 + 1)."""
        power = log_periodogram(self.project(feature), self.tile)
        power = power - power.mean((-2, -1), keepdim=True)
        coordinates = frequency_coordinates(self.tile, power).expand(power.shape[0], -1, -1, -1)
        hidden = self.entry(continue_half_spectrum(torch.cat([power, coordinates], dim=1)))
        gains = at_least_float32(self.exit(self.blocks(hidden)))
        not_constant = torch.ones_like(gains[0, 0])
        not_constant[0, 0] = 0
        if self.signed:
            return 1 + gains * not_constant
        return torch.exp(math.log(LARGEST_GAIN) * torch.tanh(gains) * not_constant)

    def forward(self, feature: Tensor) -> Tensor:
        # The transform of the change, not of the kernel: a gain of one gives zeros and no rounding errors.
        return kernel_of_gain(self.gains(feature) - 1, self.kernel_size)


class DualBranchInverseKernels(nn.Module):
    """Predict M kernels that undo the blur of an image, out of two views of its features.

    The spatial branch reads their mean after strided convolutions. The frequency branch reads their power spectrum,
    where a blur is a factor. A gate weighs the two for every kernel. Each kernel sums to one, so that no brightness is
    changed, and its taps may be negative. At the start all are unit pulses.

    Args:
        channels: Channels C of the feature map.
        num_kernels: Number M of kernels.
        kernel_size: Taps k per side, odd.
        spectrum_tile: Side of the tiles of the spectrum, even, larger than k.
        spectral_channels: Channels that the spectrum is taken of.
        branches: ``both``, or one of them alone: ``spatial``, ``frequency``.
        signed_gain: See :class:`FrequencyBranch`.

    Shape:
        (N, C, H, W), any size -> (N, M, k, k), float32 at least.

    Raises:
        ValueError: Arguments that do not fit; the message names them.

    Example:
        >>> import torch
        >>> predict = DualBranchInverseKernels(channels=8, num_kernels=2, kernel_size=5, spectrum_tile=16)
        >>> kernels = predict(torch.rand(1, 8, 20, 24))
        >>> kernels.shape, kernels.sum((-2, -1)).tolist()
        (torch.Size([1, 2, 5, 5]), [[1.0, 1.0]])
    """

    def __init__(
        self,
        channels: int,
        *,
        num_kernels: int = 8,
        kernel_size: int = 15,
        spectrum_tile: int = 64,
        spectral_channels: int = 16,
        branches: Branches = 'both',
        signed_gain: bool = False,
    ) -> None:
        check_inverse_kernels(num_kernels, kernel_size, spectrum_tile, spectral_channels, branches)
        super().__init__()
        self.kernel_size = kernel_size
        self.spatial: SpatialBranch | None = None
        self.frequency: FrequencyBranch | None = None
        self.gate: nn.Linear | None = None
        if branches != 'frequency':
            self.spatial = SpatialBranch(channels, num_kernels, kernel_size)
        if branches != 'spatial':
            self.frequency = FrequencyBranch(
                channels,
                num_kernels,
                kernel_size,
                tile=spectrum_tile,
                spectral_channels=spectral_channels,
                signed=signed_gain,
            )
        if branches == 'both':
            self.gate = nn.Linear(2 * channels, num_kernels)

    def forward(self, feature: Tensor) -> Tensor:
        if self.spatial is not None:
            code, change = self.spatial(feature)
        if self.frequency is not None:
            from_spectrum = self.frequency(feature)
            if self.gate is None:
                change = from_spectrum
            else:
                share = torch.sigmoid(at_least_float32(self.gate(code)))[..., None, None]
                change = torch.lerp(change, from_spectrum, share)
        change = change - change.mean((-2, -1), keepdim=True)
        pulse = torch.zeros_like(change[0, 0])
        pulse[self.kernel_size // 2, self.kernel_size // 2] = 1
        return pulse + change
