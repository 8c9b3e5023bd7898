"""Position adaptive convolution: few kernels of an image, mixed anew at every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from deeprftv2_arch.nn.fdikp.kernel_stack import KernelStack
from deeprftv2_arch.nn.pointwise import PointwiseConv2d
from deeprftv2_arch.nn.precision import at_least_float32


class Deconvolved(NamedTuple):
    """What position adaptive convolution returns.

    Attributes:
        image: (N, K, H, W), the weighted sum of the stack.
        stack: (N, S, K, H, W), the results of all kernels times their weights, the image itself first.
        scores: (N, S, H, W), the weights; they are positive and add up to one at every pixel.
    """

    image: Tensor
    stack: Tensor
    scores: Tensor


class PositionAdaptiveConvolution(nn.Module):
    """Convolve an image with a few kernels and let a feature map decide at every pixel how much of each is taken.

    The result is that of one kernel per pixel, out of the space that the few kernels span.

    Args:
        channels: Channels C of the feature map.
        num_kernels: Number M of kernels.
        dilations: Apply every kernel with each of these distances between taps.

    Shape:
        image (N, K, H, W), kernels (N, M, k, k) with an odd k, feature (N, C, H, W) -> :class:`Deconvolved` with
        S = 1 + M * len(dilations).

    Raises:
        ValueError: No kernels, or a dilation below 1.

    Example:
        >>> import torch
        >>> convolution = PositionAdaptiveConvolution(channels=8, num_kernels=2)
        >>> kernels = torch.rand(1, 2, 5, 5)
        >>> output = convolution(torch.rand(1, 3, 16, 20), kernels, torch.rand(1, 8, 16, 20))
        >>> output.image.shape, output.stack.shape, output.scores.shape
        (torch.Size([1, 3, 16, 20]), torch.Size([1, 3, 3, 16, 20]), torch.Size([1, 3, 16, 20]))
    """

    def __init__(self, channels: int, num_kernels: int, dilations: Sequence[int] = (1,)) -> None:
        super().__init__()
        if num_kernels < 1:
            raise ValueError(f'num_kernels must be at least 1, got {num_kernels}')
        if not dilations or min(dilations) < 1:
            raise ValueError(f'dilations needs one number or more, all at least 1, got {list(dilations)}')
        self.convolve = KernelStack(tuple(dilations))
        self.stack_size = 1 + num_kernels * len(dilations)
        inner = max(channels // 2, 1)
        self.score = nn.Sequential(
            nn.Conv2d(channels, inner, 3, padding=1), nn.GELU(), PointwiseConv2d(inner, self.stack_size)
        )

    def forward(self, image: Tensor, kernels: Tensor, feature: Tensor) -> Deconvolved:
        scores = at_least_float32(self.score(feature)).softmax(dim=1)
        stack = self.convolve(image, kernels)
        weights = scores.unsqueeze(2)
        # As changes of the image: kernels that are still unit pulses return it bit for bit.
        mixed = stack[:, 0] + (weights * (stack - stack[:, :1])).sum(dim=1)
        return Deconvolved(mixed, weights * stack, scores)
