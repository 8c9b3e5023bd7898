"""Convolving an image with kernels of its own: a stack of results, and what mixing them per pixel amounts to."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.fdikp.borders import mirrored
from deeprftv2_arch.nn.fourier import irfft2
from deeprftv2_arch.nn.precision import at_least_float32, without_autocast

# From this many taps per side on, in pixels of the image, the transform is quicker than the sum over all taps on a
# processor: with gradients four times, for two images of 48 pixels.
FOURIER_FROM = 21


def apply_kernels(image: Tensor, kernels: Tensor, dilation: int = 1, fourier: bool | None = None) -> Tensor:
    """Apply each kernel of an image to all of its channels (cross-correlation, mirrored border).

    It computes in float32 at least, also under autocast: what comes out is added to images.

    Args:
        image: (N, K, H, W), any size.
        kernels: (N, M, k, k), k odd: those of the first image, of the second, ...
        dilation: Pixels from tap to tap.
        fourier: Multiply transforms rather than sum over taps; the result is the same up to rounding. None takes what
            is quicker for the size of the kernels.

    Returns:
        (N, M, K, H, W).

    Raises:
        ValueError: The numbers of images differ, or a kernel has no centre.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 3, 8, 9)
        >>> pulse = torch.zeros(1, 2, 5, 5)
        >>> pulse[..., 2, 2] = 1
        >>> stack = apply_kernels(image, pulse)
        >>> stack.shape, torch.equal(stack[:, 1], image)
        (torch.Size([1, 2, 3, 8, 9]), True)
    """
    size = kernels.shape[-1]
    if kernels.shape[0] != image.shape[0] or kernels.shape[-2] != size or not size % 2:
        raise ValueError(
            f'expected kernels (N, M, k, k) with an odd k for images {tuple(image.shape)}, got {tuple(kernels.shape)}'
        )
    reach = size // 2 * dilation
    with without_autocast(image.device):
        image, kernels = at_least_float32(image), at_least_float32(kernels)
        padded = mirrored(image, reach, reach, reach, reach)
        if fourier is None:
            fourier = 2 * reach + 1 >= FOURIER_FROM
        if fourier:
            return _by_transform(padded, kernels, dilation)
        batch, number = kernels.shape[:2]
        # The images are the groups of one convolution, and the channels of the image its batch.
        filtered = F.conv2d(
            padded.transpose(0, 1), kernels.reshape(batch * number, 1, size, size), groups=batch, dilation=dilation
        )
        return filtered.unflatten(1, (batch, number)).permute(1, 2, 0, 3, 4)


def _by_transform(padded: Tensor, kernels: Tensor, dilation: int) -> Tensor:
    height, width = padded.shape[-2:]
    reach = kernels.shape[-1] // 2 * dilation
    spread = padded.new_zeros(*kernels.shape[:2], 2 * reach + 1, 2 * reach + 1)
    spread[..., ::dilation, ::dilation] = kernels
    response = torch.fft.rfft2(spread, s=(height, width)).conj()
    product = torch.fft.rfft2(padded).unsqueeze(1) * response.unsqueeze(2)
    filtered = irfft2(product, height, width)
    return filtered[..., : height - 2 * reach, : width - 2 * reach]


class KernelStack(nn.Module):
    """:func:`apply_kernels` with several dilations, the image itself first.

    Args:
        dilations: Pixels from tap to tap; each kernel is applied with each of them.

    Shape:
        (N, K, H, W), (N, M, k, k) -> (N, 1 + M * len(dilations), K, H, W), float32 at least.
    """

    def __init__(self, dilations: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.dilations = dilations

    def forward(self, image: Tensor, kernels: Tensor) -> Tensor:
        filtered = [apply_kernels(image, kernels, dilation) for dilation in self.dilations]
        return torch.cat([at_least_float32(image).unsqueeze(1), *filtered], dim=1)

    def extra_repr(self) -> str:
        return f'dilations={self.dilations}'


def effective_kernels(scores: Tensor, kernels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The one kernel per pixel that mixing a stack amounts to: ``A_0 delta + sum_m A_m kernel_m``.

    Args:
        scores: (N, M + 1, H, W), the weights A of the stack, the image's own first.
        kernels: (N, M, k, k).
        rows, columns: (P,), the pixels.

    Returns:
        (N, P, k, k).
    """
    size = kernels.shape[-1]
    pulse = kernels.new_zeros(kernels.shape[0], 1, size, size)
    pulse[..., size // 2, size // 2] = 1
    weights = scores[..., rows, columns]  # n m p
    return torch.einsum('nmp,nmij->npij', weights, torch.cat([pulse, kernels], dim=1))
