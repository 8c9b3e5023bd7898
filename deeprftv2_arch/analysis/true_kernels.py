"""Kernels to compare an estimator's with: of a sharp and blurred pair, and made ones; and the comparison."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def division_spectrum(blurred: Tensor, sharp: Tensor, eps: float) -> Tensor:
    """Return the spectrum of the kernel that blurs one image into the other: ``F(B) / F(S)``, regularised.

    The paper divides as it is, and notes the noise that this gives. Here it is ``conj(F(S)) F(B) / (|F(S)|^2 + eps m)``
    with ``m`` the mean of ``|F(S)|^2`` (the paper's equation 6 has such a constant).

    Args:
        blurred, sharp: (..., H, W), W even.
        eps: Share of the mean power of the sharp image, > 0.

    Returns:
        (..., H, W // 2 + 1), complex.
    """
    first, second = torch.fft.rfft2(blurred), torch.fft.rfft2(sharp)
    power = second.abs() ** 2
    return second.conj() * first / (power + eps * power.mean((-2, -1), keepdim=True))


def motion_kernel(size: int, length: float, angle: float) -> Tensor:
    """Make the kernel of a straight motion: a line of that length in pixels, through the middle.

    Args:
        size: Side in pixels, odd.
        length: Length of the line, at most ``size``.
        angle: Degrees, counted from the rows' direction towards the first row.

    Returns:
        (size, size) in float64, sum 1.
    """
    steps = torch.linspace(-0.5, 0.5, 16 * size + 1, dtype=torch.float64) * max(length - 1, 0)
    y = size // 2 - steps * math.sin(math.radians(angle))
    x = size // 2 + steps * math.cos(math.radians(angle))
    rows = torch.arange(size, dtype=torch.float64)
    # Every point of the line is shared by the four pixels around it.
    near_y = (1 - (y[:, None] - rows).abs()).clamp(min=0)
    near_x = (1 - (x[:, None] - rows).abs()).clamp(min=0)
    kernel = near_y.T @ near_x
    return kernel / kernel.sum()


def best_correlation(kernel: Tensor, true: Tensor) -> float:
    """Return the correlation of two kernels at the shift that suits them best, free of sign and scale.

    Args:
        kernel: (h, w), the place of no shift in the middle.
        true: (k, l), not larger.

    Returns:
        The largest modulus of Pearson's correlation over all cyclic shifts, in [0, 1]; 0 for a kernel that does not
        vary.
    """
    height, width = kernel.shape
    padded = kernel.new_zeros(height, width)
    padded[: true.shape[0], : true.shape[1]] = true
    first, second = kernel - kernel.mean(), padded - padded.mean()
    norms = first.norm() * second.norm()
    if norms == 0:
        return 0.0
    products = torch.fft.irfft2(torch.fft.rfft2(first) * torch.fft.rfft2(second).conj(), s=kernel.shape)
    return float(products.abs().max() / norms)


def convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """Blur an image with a kernel, borders mirrored: (C, H, W), (k, k) with k odd -> (C, H, W)."""
    margin = kernel.shape[-1] // 2
    padded = torch.nn.functional.pad(image[None], (margin,) * 4, mode='reflect')
    weight = kernel.to(image.dtype).flip(-2, -1).expand(image.shape[0], 1, -1, -1)
    return torch.nn.functional.conv2d(padded, weight, groups=image.shape[0])[0]
