"""The blur pattern of an image: what FFT, ReLU and inverse FFT make of it (paper figure 2).

``V = shift(F^-1(ReLU(F(B))) - B / 2)``, channel by channel. ReLU acts on the real and on the imaginary part; the shift
is cyclic by half the height and width, so that the place of no shift lies in the middle.
"""

from __future__ import annotations

import torch
from torch import Tensor


def blur_pattern(image: Tensor) -> Tensor:
    """Compute V from the half spectrum, as DeepRFT does. (The paper does not say which half.)

    Its even part around the middle is half the inverse transform of ``|Re F(B)|``.

    Args:
        image: (..., H, W).

    Returns:
        (..., H, W), real; the place of no shift is at (H // 2, W // 2).
    """
    spectrum = torch.fft.rfft2(image)
    rectified = torch.complex(spectrum.real.relu(), spectrum.imag.relu())
    pattern = torch.fft.irfft2(rectified, s=image.shape[-2:]) - image / 2
    return torch.fft.fftshift(pattern, dim=(-2, -1))
