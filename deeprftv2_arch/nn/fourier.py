"""The inverse Fourier transform of a half spectrum, also for an export to ONNX."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def irfft2(spectrum: Tensor, height: int, width: int) -> Tensor:
    """``torch.fft.irfft2`` with the sides of the map: (..., height, width // 2 + 1) -> (..., height, width)."""
    if not torch.onnx.is_in_onnx_export():
        return torch.fft.irfft2(spectrum, s=(height, width))
    # ONNX has no transform that ends in real numbers. Row by row it is a product with cosines and sines.
    if not spectrum.is_complex():
        spectrum = torch.complex(spectrum, torch.zeros_like(spectrum))
    rows = torch.fft.ifft(spectrum, dim=-2)
    frequency = torch.arange(spectrum.shape[-1], device=spectrum.device)[:, None]
    place = torch.arange(width, device=spectrum.device)
    length = place[-1:] + 1  # the width as a tensor: the exporter divides by no other unknown
    angle = (frequency * place % length).to(rows.real.dtype) * (2 * math.pi / length)
    # Every frequency stands for the opposite one too, but for the lowest and, of an even side, the highest.
    counted_once = (frequency == 0) | (2 * frequency == length)
    share = torch.where(counted_once, 1.0, 2.0).to(angle.dtype) / length
    return rows.real @ (share * angle.cos()) - rows.imag @ (share * angle.sin())
