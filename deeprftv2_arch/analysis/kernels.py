"""The kernels that a Fourier kernel estimator predicts, as pictures (paper figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from deeprftv2_arch.nn.fke import FourierKernelEstimator


@contextmanager
def record_kernels(estimator: FourierKernelEstimator) -> Iterator[list[Tensor]]:
    """Collect the kernels that an estimator predicts while the context is open.

    Args:
        estimator: For instance ``network.columns[-1].unets[0].fke``, the last one at full resolution.

    Yields:
        A list that grows by one tensor per forward pass: the kernels' spectra, (M, C, h, w // 2 + 1), complex. M is the
        batch size, or that times the number of windows.
    """
    spectra: list[Tensor] = []
    hook = estimator.convolution.head.register_forward_hook(lambda module, inputs, output: spectra.append(output))
    try:
        yield spectra
    finally:
        hook.remove()


def spatial_kernels(spectrum: Tensor) -> Tensor:
    """Bring kernels from Fourier space to the image plane.

    >>> spatial_kernels(torch.ones(4, 3, dtype=torch.complex64))[2]  # passes an image on as it is
    tensor([0., 0., 1., 0.])

    Args:
        spectrum: (..., H, W // 2 + 1), complex, DC at index 0, for an even W.

    Returns:
        (..., H, W), real; the place of no shift is at (H // 2, W // 2).
    """
    return torch.fft.fftshift(torch.fft.irfft2(spectrum), dim=(-2, -1))


def central(picture: Tensor, size: int) -> Tensor:
    """Cut out the middle of maps: (..., H, W) -> (..., size, size), the place of no shift at (size // 2, size // 2).

    Raises:
        ValueError: The maps are smaller.
    """
    height, width = picture.shape[-2:]
    if size > min(height, width):
        raise ValueError(f'the middle {size} x {size} of a map of {height} x {width} does not exist')
    top, left = height // 2 - size // 2, width // 2 - size // 2
    return picture[..., top : top + size, left : left + size]


def log_spectrum(picture: Tensor) -> Tensor:
    """Return ``log(|F(picture)| + 1e-7)`` with the zero frequency in the middle, (..., H, W) -> (..., H, W)."""
    return torch.log(torch.fft.fftshift(torch.fft.fft2(picture), dim=(-2, -1)).abs() + 1e-7)


def kernel_picture(kernels: Tensor, common: Tensor | None = None) -> Tensor:
    """Draw one picture of the kernels of all channels.

    A kernel acts on a feature of any sign and scale, so each channel is taken by its modulus and brought to one scale
    before the mean over channels is taken.

    Most of a kernel is the same for every image: it passes the feature on. Where ``common`` gives that part, it is
    left out, and what remains is what the estimator has found in this very image.

    Args:
        kernels: (M, C, H, W), real, of one image, see :func:`spatial_kernels`; the mean over M is shown.
        common: (C, H, W), the mean kernels of many images with other blurs.

    Returns:
        (H, W), >= 0, sum 1.
    """
    kernels = kernels.mean(dim=0)
    if common is None:
        shown, scale = kernels, kernels
    else:
        shown, scale = kernels - common, common
    shown = (shown.abs() / scale.abs().sum(dim=(-2, -1), keepdim=True)).mean(dim=0)
    return shown / shown.sum()
