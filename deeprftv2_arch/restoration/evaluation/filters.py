"""What sharpening without a network reaches: the unsharp mask and the Wiener filter, with their best parameters.

One set of parameters serves all images, as a user who does not know the blur would have it; but they are those with the
highest mean PSNR on the very pairs that are measured, which no user could find.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from scipy import fft

from deeprftv2_arch.metrics.pixelwise import psnr
from deeprftv2_arch.restoration.evaluation.pairs import Pair

Parameters = TypeVar('Parameters', tuple[float, float], tuple[str, float])

RADII = (0.6, 0.8, 1.0, 1.4, 2.0, 2.8, 4.0)
AMOUNTS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3, 1.7, 2.2)
"""Of the unsharp mask: standard deviation of its Gaussian in pixels, and how much of the difference is added."""

DISCS = (0.75, 1.0, 1.5, 2.0, 3.0)
GAUSSIANS = (0.4, 0.6, 0.9, 1.3)
BALANCES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Of the Wiener filter: radius of a disc or standard deviation of a Gaussian that the blur is taken for, in pixels;
weight of the Laplacian, which stands for noise over signal."""

PADDING = 16
"""Mirrored pixels around an image while the Wiener filter, which takes it for periodic, is at work."""

SUBPIXELS = 8

LAPLACIAN = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]])


@dataclass(frozen=True)
class Fitted:
    """A filter with its best parameters.

    Attributes:
        name: What it is, with its parameters.
        run: uint8 (H, W, 3) -> uint8 (H, W, 3).
    """

    name: str
    run: Callable[[np.ndarray], np.ndarray]


def fit_unsharp_mask(pairs: Iterable[Pair]) -> Fitted:
    """Try all radii and amounts on all pairs, and take those with the highest mean PSNR.

    Args:
        pairs: Are gone through once.
    """
    radius, amount = _best(_unsharp_masks, pairs)
    return Fitted(
        f'unsharp mask (radius {radius:g}, amount {amount:g})',
        lambda image: _to_8_bits(unsharp_mask(to_float(image), radius, amount)),
    )


def fit_wiener_filter(pairs: Iterable[Pair]) -> Fitted:
    """Try all kernels and balances on all pairs, and take those with the highest mean PSNR.

    Args:
        pairs: Are gone through once.
    """
    name, balance = _best(_wiener_filters, pairs)
    return Fitted(
        f'Wiener filter ({name}, balance {balance:g})',
        lambda image: _to_8_bits(wiener_filter(to_float(image), _kernels()[name], balance)),
    )


def unsharp_mask(image: np.ndarray, radius: float, amount: float) -> np.ndarray:
    """Add to an image, by some amount, what a Gaussian takes away.

    Args:
        image: float32 (H, W, 3).
        radius: Standard deviation of the Gaussian in pixels.
        amount: Factor.

    Returns:
        (H, W, 3), not clipped.
    """
    return image + np.float32(amount) * (image - _smoothed(image, radius))


def wiener_filter(image: np.ndarray, kernel: np.ndarray, balance: float) -> np.ndarray:
    """Deconvolve each colour by the Wiener filter with a Laplacian as the prior, mirrored at the edges.

    Args:
        image: float32 (H, W, 3).
        kernel: (k, k), k odd, sum 1: what the image was convolved with.
        balance: Weight of the Laplacian.

    Returns:
        (H, W, 3), not clipped.

    Source: Hunt 1973, as in scikit-image's ``restoration.wiener``.
    """
    spectrum, size = _spectrum(image)
    return _inverse(spectrum * _response(kernel, balance, size), size)


def disc(radius: float) -> np.ndarray:
    """The kernel of an unfocused point: (k, k), k odd, sum 1; pixels on the rim are covered in part."""
    reach = int(np.ceil(radius))
    side = (2 * reach + 1) * SUBPIXELS
    place = (np.arange(side) + 0.5) / SUBPIXELS - side / SUBPIXELS / 2
    inside = (place[:, None] ** 2 + place**2 <= radius**2).astype(float)
    kernel = inside.reshape(2 * reach + 1, SUBPIXELS, 2 * reach + 1, SUBPIXELS).mean((1, 3))
    return kernel / kernel.sum()


def gaussian(sigma: float) -> np.ndarray:
    """A Gaussian kernel: (k, k), k odd, sum 1."""
    line = cv2.getGaussianKernel(2 * int(np.ceil(4 * sigma)) + 1, sigma)
    return line @ line.T


def to_float(image: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [0, 1]."""
    return image.astype(np.float32) / 255


def psnr_8_bits(image: np.ndarray, sharp: np.ndarray) -> float:
    """PSNR of two uint8 images in dB."""
    return psnr(to_float(image), to_float(sharp))


def _best(
    try_all: Callable[[np.ndarray], Iterator[tuple[Parameters, np.ndarray]]], pairs: Iterable[Pair]
) -> Parameters:
    """The parameters whose outputs have the highest mean PSNR.

    Args:
        try_all: Yields, for an image, all parameters with what they make of it.
        pairs: What to try them on.
    """
    sums: dict[Parameters, float] = defaultdict(float)
    for pair in pairs:
        for parameters, output in try_all(to_float(pair.blurred)):
            sums[parameters] += psnr_8_bits(_to_8_bits(output), pair.sharp)
    return max(sums, key=sums.__getitem__)


def _unsharp_masks(image: np.ndarray) -> Iterator[tuple[tuple[float, float], np.ndarray]]:
    for radius in RADII:
        detail = image - _smoothed(image, radius)
        for amount in AMOUNTS:
            yield (radius, amount), image + np.float32(amount) * detail


def _wiener_filters(image: np.ndarray) -> Iterator[tuple[tuple[str, float], np.ndarray]]:
    spectrum, size = _spectrum(image)
    for name, kernel in _kernels().items():
        for balance in BALANCES:
            yield (name, balance), _inverse(spectrum * _response(kernel, balance, size), size)


def _kernels() -> dict[str, np.ndarray]:
    kernels = {f'disc of radius {radius:g}': disc(radius) for radius in DISCS}
    return kernels | {f'Gaussian of sigma {sigma:g}': gaussian(sigma) for sigma in GAUSSIANS}


def _smoothed(image: np.ndarray, radius: float) -> np.ndarray:
    side = 2 * int(4 * radius + 0.5) + 1
    return cv2.GaussianBlur(image, (side, side), radius, borderType=cv2.BORDER_REFLECT)


def _spectrum(image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The spectrum of each colour of the padded image, (3, h, w // 2 + 1), and the padded size (h, w)."""
    padded = np.pad(image, ((PADDING, PADDING), (PADDING, PADDING), (0, 0)), 'reflect').transpose(2, 0, 1)
    return fft.rfft2(padded), (padded.shape[1], padded.shape[2])


def _inverse(spectrum: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return fft.irfft2(spectrum, size)[:, PADDING:-PADDING, PADDING:-PADDING].transpose(1, 2, 0)


def _response(kernel: np.ndarray, balance: float, size: tuple[int, int]) -> np.ndarray:
    """The Wiener filter in the frequency domain, (h, w // 2 + 1)."""
    blur, prior = _transfer(kernel, size), _transfer(LAPLACIAN, size)
    return (blur.conj() / (np.abs(blur) ** 2 + balance * np.abs(prior) ** 2)).astype(np.complex64)


def _transfer(kernel: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What a kernel does to each frequency, with its central pixel at the origin."""
    canvas = np.zeros(size)
    canvas[: kernel.shape[0], : kernel.shape[1]] = kernel
    return fft.rfft2(np.roll(canvas, [-(side // 2) for side in kernel.shape], (0, 1)))


def _to_8_bits(image: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
