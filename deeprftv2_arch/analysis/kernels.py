"""The kernels that a Fourier kernel estimator predicts, as pictures (paper figure 6 (f) and (i))."""

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

    Args:
        spectrum: (..., H, W // 2 + 1), complex, DC at index 0, for an even W.

    Returns:
        (..., H, W), real; the place of no shift is at (H // 2, W // 2).
    """
    return torch.fft.fftshift(torch.fft.irfft2(spectrum), dim=(-2, -1))


def mean_kernel(spectrum: Tensor) -> Tensor:
    """One picture of the kernels of all channels.

    A kernel acts on a feature of any sign and scale, so each one is taken by its modulus and brought to sum 1 before
    the mean over channels (and windows) is taken.

    Args:
        spectrum: (M, C, H, W // 2 + 1), complex, see :func:`spatial_kernels`.

    Returns:
        (H, W), >= 0, sum 1.
    """
    kernels = spatial_kernels(spectrum).abs().flatten(0, 1)
    return (kernels / kernels.sum(dim=(-2, -1), keepdim=True)).mean(dim=0)
