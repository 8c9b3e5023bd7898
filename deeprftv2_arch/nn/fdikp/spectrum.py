"""Power spectra that do not depend on where things lie, and kernels of a given gain per frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from deeprftv2_arch.nn.fdikp.borders import mirrored
from deeprftv2_arch.nn.fourier import irfft2
from deeprftv2_arch.nn.precision import at_least_float32
from deeprftv2_arch.nn.windows import window_starts

# Added to a power before its logarithm is taken: far below the rounding of 8-bit images, (1 / 255)^2 / 12 = 1.3e-6.
FLOOR = 1e-7


def log_periodogram(x: Tensor, tile: int) -> Tensor:
    """Logarithm of the mean power of every frequency over Hann-windowed tiles that overlap by half (Welch's method).

    The mean over tiles hardly depends on the size of the map or on where things lie in it. Of a map blurred by a kernel
    H it is the spectrum of the sharp map plus ``log |H|^2``, up to what the windows smear and down to a floor of 1e-7.

    Args:
        x: (N, C, H, W), any size; a map smaller than a tile is mirrored. Half precision is raised to float32.
        tile: Side T of a tile in pixels, even.

    Returns:
        (N, C, T, T // 2 + 1), the half spectrum with DC at index 0. White noise of variance 1 has the value 0.

    Example:
        >>> import torch
        >>> noise = torch.randn(1, 2, 96, 80, generator=torch.Generator().manual_seed(0))
        >>> spectrum = log_periodogram(noise, tile=32)
        >>> spectrum.shape
        torch.Size([1, 2, 32, 17])
        >>> bool(spectrum.exp().mean().sub(1).abs() < 0.1)
        True

    Source: P. Welch, IEEE Transactions on Audio and Electroacoustics, 1967.
    """
    x = at_least_float32(x)
    height, width = x.shape[-2:]
    missing_rows, missing_columns = max(tile - height, 0), max(tile - width, 0)
    x = mirrored(x, 0, missing_rows, 0, missing_columns)
    height, width = x.shape[-2:]
    taper = torch.hann_window(tile, dtype=x.dtype, device=x.device)
    taper = torch.outer(taper, taper)
    columns = window_starts(width, tile, tile // 2)
    rows = window_starts(height, tile, tile // 2)
    total = x.new_zeros(*x.shape[:2], tile, tile // 2 + 1)
    # A row of tiles at a time, so that the spectra of all need not exist at once.
    for row in rows:
        strip = x[..., row : row + tile, :]
        tiles = torch.stack([strip[..., column : column + tile] for column in columns], dim=2)
        spectra = torch.fft.rfft2(tiles * taper)
        total = total + (spectra.real.square() + spectra.imag.square()).sum(dim=2)
    mean_power = total / (len(rows) * len(columns) * taper.square().sum())
    return (mean_power + FLOOR).log()


def frequency_coordinates(tile: int, like: Tensor) -> Tensor:
    """Cosines of the vertical and the horizontal frequency of every bin: (1, 2, T, T // 2 + 1), 1 at DC.

    Args:
        tile: T, even.
        like: A tensor of the wanted type and device.
    """
    vertical = torch.arange(tile, dtype=like.dtype, device=like.device)
    horizontal = vertical[: tile // 2 + 1]
    cosines = (torch.cos(2 * math.pi / tile * axis) for axis in (vertical, horizontal))
    return torch.stack(torch.meshgrid(*cosines, indexing='ij'))[None]


def continue_half_spectrum(x: Tensor) -> Tensor:
    """Add the neighbouring bins at each side of a half spectrum, as they are in the whole one.

    The spectrum of a real map is periodic, and its power is the same at opposite frequencies. So the column left of DC
    is the first one upside down, and the column behind the last one is the last but one upside down.

    Args:
        x: (N, C, T, T // 2 + 1), T even.

    Returns:
        (N, C, T + 2, T // 2 + 3).
    """
    opposite = x.flip(-2).roll(1, dims=-2)  # bin u is now what bin -u was
    x = torch.cat([opposite[..., 1:2], x, opposite[..., -2:-1]], dim=-1)
    return F.pad(x, (0, 0, 1, 1), mode='circular')


def kernel_of_gain(gain: Tensor, size: int) -> Tensor:
    """Kernels whose transform is a given real gain, cut out around their centre.

    Args:
        gain: (..., T, T // 2 + 1), real, DC at index 0; the gain of a frequency is that of the opposite one.
        size: Taps per side, odd and less than T.

    Returns:
        (..., size, size), the centre at ``size // 2``. For a gain of one it is the unit pulse.
    """
    tile = gain.shape[-2]
    kernel = torch.fft.fftshift(irfft2(gain, tile, tile), dim=(-2, -1))
    first = tile // 2 - size // 2
    return kernel[..., first : first + size, first : first + size]
