"""Images with a known blur that differs from place to place, and what a linear filter can undo of it."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from deeprftv2_arch.nn.fdikp.kernel_stack import apply_kernels

Shape = Literal['gaussian', 'disk']

# Ratio of noise to signal that the inverse is limited by, as in P2IKT.
NOISE_TO_SIGNAL = 0.01
# Side of the grid on which filters are compared.
GRID = 64


def gaussian_kernel(sigma: float, size: int) -> Tensor:
    """A Gaussian sampled at pixel centres, sum 1: (size, size) in float64; the unit pulse for 0.

    Args:
        sigma: Standard deviation in pixels.
        size: Taps per side, odd.
    """
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    profile = torch.exp(-(axis**2) / (2 * max(sigma, 1e-3) ** 2))
    kernel = torch.outer(profile, profile)
    return kernel / kernel.sum()


def disk_kernel(radius: float, size: int) -> Tensor:
    """A uniform disk, the blur of a thin lens, sum 1: (size, size) in float64; the unit pulse for 0.

    Args:
        radius: In pixels.
        size: Taps per side, odd.
    """
    parts = 16  # points per pixel side, for pixels that are partly covered; an even number has none on the circle
    axis = (torch.arange(size * parts, dtype=torch.float64) - (size * parts - 1) / 2) / parts
    inside = axis[:, None] ** 2 + axis**2 <= max(radius, 0.05) ** 2
    kernel = inside.double().reshape(size, parts, size, parts).mean((1, 3))
    return kernel / kernel.sum()


def blur_kernel(shape: Shape, strength: float, size: int = 21) -> Tensor:
    """The kernel of a strength: the sigma of a Gaussian, or the radius of a disk, in pixels."""
    return gaussian_kernel(strength, size) if shape == 'gaussian' else disk_kernel(strength, size)


def sharp_textures(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Images of shapes that cover each other: (count, 3, size, size) in [0, 1].

    Rectangles and ellipses of random colours, more small than large ones ("dead leaves"): sharp edges at all sizes.
    """
    axis = torch.arange(size, dtype=torch.float32)
    rows, columns = axis.view(size, 1), axis.view(1, size)
    images = torch.rand(count, 3, 1, 1, generator=generator).expand(-1, -1, size, size)
    # One shape in every image at a time, enough to cover each image about twice.
    for _ in range(size * size // 80):
        numbers = torch.rand(count, 8, 1, 1, generator=generator)
        form, tall, wide, top, left = numbers[:, :5].unsqueeze(1).unbind(2)
        # Density of radii as r^-3, from 2 pixels to a third of the image.
        radius = (2 / (1 - form).sqrt()).clamp(max=size / 3)
        y = (rows - top * size) / (radius * (0.5 + tall))
        x = (columns - left * size) / (radius * (0.5 + wide))
        distance = torch.where(tall < wide, (y**2 + x**2).sqrt(), torch.maximum(y.abs(), x.abs()))
        images = torch.where(distance <= 1, numbers[:, 5:], images)
    return images


class Defocused(NamedTuple):
    """Images that are blurred differently in two parts.

    Attributes:
        sharp, blurred: (N, 3, H, W).
        strengths: (N, 2), of the blur in the first and in the second part.
        second: (N, 1, H, W), the share of the second part at every pixel: 0 or 1 but for a narrow seam.
    """

    sharp: Tensor
    blurred: Tensor
    strengths: Tensor
    second: Tensor


def defocus(
    sharp: Tensor,
    strengths: Tensor,
    *,
    shape: Shape,
    noise: float,
    generator: torch.Generator,
    second: Tensor | None = None,
) -> Defocused:
    """Blur images, each with one strength left of a line and another right of it, and add noise.

    Args:
        sharp: (N, 3, H, W).
        strengths: (N, 2).
        shape: Of the blur.
        noise: Standard deviation.
        generator: Of the noise and of the lines.
        second: The parts; None draws a line of random place and direction through each image.
    """
    count, _, height, width = sharp.shape
    if second is None:
        second = _random_halves(count, height, width, generator)
    kernels = torch.stack([torch.stack([blur_kernel(shape, float(s)) for s in pair]) for pair in strengths])
    stack = apply_kernels(sharp, kernels.to(sharp.dtype))  # n 2 3 h w
    blurred = torch.lerp(stack[:, 0], stack[:, 1], second)
    blurred = blurred + noise * torch.randn(blurred.shape, generator=generator)
    return Defocused(sharp, blurred, strengths, second)


def _random_halves(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Half-planes with a seam of about four pixels: (count, 1, height, width) in [0, 1]."""
    y = torch.linspace(-1, 1, height).view(height, 1)
    x = torch.linspace(-1, 1, width).view(1, width)
    numbers = torch.rand(count, 2, generator=generator)
    halves = []
    for angle, offset in (numbers * torch.tensor([2 * math.pi, 1.0]) - torch.tensor([0.0, 0.5])).tolist():
        distance = (math.cos(angle) * x + math.sin(angle) * y - offset) * max(height, width) / 2
        halves.append((distance / 4 + 0.5).clamp(0, 1))
    return torch.stack(halves).unsqueeze(1)


def transfer(kernel: Tensor) -> Tensor:
    """Response of a kernel on the grid, its centre at the origin: (..., k, k) -> complex (..., GRID, GRID // 2 + 1)."""
    size = kernel.shape[-1]
    placed = kernel.new_zeros(*kernel.shape[:-2], GRID, GRID)
    placed[..., :size, :size] = kernel
    return torch.fft.rfft2(placed.roll((-(size // 2), -(size // 2)), dims=(-2, -1)))


def wiener_gain(response: Tensor) -> Tensor:
    """The filter that undoes a blur as far as noise lets it: ``conj(H) / (|H|^2 + 0.01)``."""
    return response.conj() / (response.abs().square() + NOISE_TO_SIGNAL)


def inversion_error(kernels: Tensor, blur: Tensor) -> Tensor:
    """How far kernels are from undoing a blur, in units of doing nothing about it.

    The distance (2-norm) of ``kernel * blur`` from what the Wiener filter makes of the blur, divided by that of the
    blur alone: 0 for the Wiener filter, 1 for the unit pulse.

    Args:
        kernels: (..., k, k).
        blur: (b, b), the true kernel.

    Returns:
        (...).
    """
    true = transfer(blur.double())
    aim = wiener_gain(true) * true
    distance = _norm(transfer(kernels.double()) * true - aim)
    return distance / _norm(true - aim)


def _norm(spectrum: Tensor) -> Tensor:
    return torch.fft.irfft2(spectrum, s=(GRID, GRID)).flatten(-2).norm(dim=-1)
