"""Mean pooling for channel attention: over the whole map, or over a sliding window of the training size."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def check_pooling(kernel: int | None) -> None:
    """Raise ValueError for a side of the sliding window in pixels that it cannot have; None is the whole map."""
    if kernel is not None and kernel < 1:
        raise ValueError(f'the pooling window must be at least 1 pixel wide, got {kernel}')


def local_mean(x: Tensor, kernel: int) -> Tensor:
    """Mean over a sliding ``kernel`` x ``kernel`` window, the same size as the input.

    A network trained on crops has learnt channel statistics of crops. The sliding mean gives it the same statistics on
    whole images (test-time local converter, TLC).

    Args:
        x: (N, C, H, W).
        kernel: Side of the window in pixels; cut to the sides of ``x``.

    Returns:
        (N, C, 1, 1), the global mean, where the window covers the whole map; otherwise (N, C, H, W): the means of all
        windows that fit, with the outermost ones repeated towards the border.
    """
    height, width = x.shape[-2:]
    if kernel >= height and kernel >= width:
        return x.mean((-2, -1), keepdim=True)
    means = _sliding_mean(_sliding_mean(x, kernel, dim=-2), kernel, dim=-1)
    extra_h, extra_w = height - means.shape[-2], width - means.shape[-1]
    return F.pad(means, (extra_w // 2, (extra_w + 1) // 2, extra_h // 2, (extra_h + 1) // 2), mode='replicate')


def _sliding_mean(x: Tensor, kernel: int, dim: int) -> Tensor:
    """Means of all windows along one axis, from running sums: the cost does not depend on the window."""
    size = x.shape[dim]
    kernel = min(kernel, size)
    # Differences of long running sums cancel, so they are kept in double precision.
    sums = x.cumsum(dim, dtype=torch.float64)
    head = sums.narrow(dim, kernel - 1, 1)
    rest = sums.narrow(dim, kernel, size - kernel) - sums.narrow(dim, 0, size - kernel)
    return (torch.cat([head, rest], dim) / kernel).to(x.dtype)


class MeanPool(nn.Module):
    """Channel statistics of a feature map.

    Args:
        kernel: Side of the sliding window, or None for the mean of the whole map.

    Shape:
        (N, C, H, W) -> (N, C, 1, 1) or, with a window smaller than the map, (N, C, H, W).
    """

    def __init__(self, kernel: int | None = None) -> None:
        super().__init__()
        check_pooling(kernel)
        self.kernel = kernel

    def takes_whole(self, x: Tensor) -> bool:
        """Whether the result for a map is the mean of all of it."""
        return self.kernel is None or self.kernel >= max(x.shape[-2:])

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((-2, -1), keepdim=True) if self.kernel is None else local_mean(x, self.kernel)

    def extra_repr(self) -> str:
        return 'whole map' if self.kernel is None else f'window={self.kernel}'
