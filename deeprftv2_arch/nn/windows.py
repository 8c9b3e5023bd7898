"""Cutting feature maps into windows and joining them again, with hard edges or blended overlaps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def check_windows(size: int, overlap: int | None = None) -> None:
    """Raise ValueError for a window size in pixels, or an overlap of neighbours, that windows cannot have."""
    if size < 1:
        raise ValueError(f'the window size must be at least 1 pixel, got {size}')
    if overlap is not None and not 0 <= overlap < size:
        raise ValueError(f'the window overlap must be in [0, {size}), the window size; got {overlap}')


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Continue (N, C, H, W) maps at the bottom and the right to sides that are multiples of a number of pixels.

    Mirrored without the last pixel, as SwinIR's images are; an image too small for that repeats its last pixel.
    """
    height, width = x.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return x
    mode = 'reflect' if bottom < height and right < width else 'replicate'
    return F.pad(x, (0, right, 0, bottom), mode)


def run_padded(run: Callable[[Tensor], Tensor], x: Tensor, multiple: int) -> Tensor:
    """Run a network that wants multiples of a number of pixels on images (N, C, H, W) of any size.

    Returns:
        Its output without what became of the padding: (N, C, H * scale, W * scale).
    """
    padded = pad_to_multiple(x, multiple)
    output = run(padded)
    height = output.shape[-2] * x.shape[-2] // padded.shape[-2]
    width = output.shape[-1] * x.shape[-1] // padded.shape[-1]
    return output[..., :height, :width]


def window_starts(length: int, size: int, overlap: int = 0) -> list[int]:
    """First pixels of the windows along one axis.

    Windows advance by ``size - overlap``; the last one is moved back so that it ends with the axis.

    Args:
        length: Pixels along the axis.
        size: Pixels of a window, at most ``length``.
        overlap: Pixels shared by neighbours, less than ``size``.
    """
    stride = size - overlap
    count = max(length - overlap - 1, 0) // stride + 1
    return [*range(0, (count - 1) * stride, stride), length - size]


@dataclass(frozen=True)
class Windows:
    """A cover of (N, C, H, W) maps by windows of one size.

    Args:
        size: Side of a window in pixels. A shorter side of the map is taken whole.
        overlap: None gives hard windows: neighbours do not overlap, and where the last one had to be moved back only
            its uncovered part counts. A number of pixels gives blended windows: neighbours share that many pixels and
            cross-fade linearly, end points included; the last pair shares what is left over.
        rounded: Round the blending weights to float32 for maps in float64 too, like the published deblurring network.

    Where a last window that was moved far back meets two others, the weights are divided by their sum, so that they add
    up to one everywhere. (The published tiles do not, at such sizes.)

    Raises:
        ValueError: A size below 1, or an overlap outside [0, size).
    """

    size: int
    overlap: int | None = None
    rounded: bool = True

    def __post_init__(self) -> None:
        check_windows(self.size, self.overlap)

    def covers(self, height: int, width: int) -> bool:
        """Whether one window holds the whole map."""
        return height <= self.size and width <= self.size

    def split(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N * T, C, h, w): the T windows of each map, row by row, with h = min(H, size)."""
        parts = [x[..., y, x_] for y, x_ in self.slices(*x.shape[-2:])]
        return torch.stack(parts, dim=1).flatten(0, 1)

    def merge(self, parts: Tensor | Iterable[Tensor], height: int, width: int) -> Tensor:
        """Join the windows of (N, C, height, width) maps, the inverse of :meth:`split`.

        Args:
            parts: (N * T, C, h, w); or the T windows one after the other, each (N, C, h, w), so that they need not
                exist at the same time.
            height: Height of the maps.
            width: Width of the maps.
        """
        slices = self.slices(height, width)
        if isinstance(parts, Tensor):
            parts = parts.unflatten(0, (-1, len(slices))).unbind(1)
        merged: Tensor | None = None
        for index, ((y, x), part) in enumerate(zip(slices, parts, strict=True)):
            if merged is None:
                merged = part.new_zeros(*part.shape[:2], height, width)
                rows, columns = self._weights(height, part), self._weights(width, part)
            row, column = divmod(index, len(columns))
            merged[..., y, x] += part * (rows[row][:, None] * columns[column])
        if merged is None:
            raise ValueError(f'there are no windows to join to maps of {height} x {width} pixels')
        return merged

    def slices(self, height: int, width: int) -> list[tuple[slice, slice]]:
        """Rows and columns of each window, row by row."""

        def along(length: int) -> list[slice]:
            size = min(length, self.size)
            return [slice(start, start + size) for start in self._starts(length)]

        return [(y, x) for y in along(height) for x in along(width)]

    def _starts(self, length: int) -> list[int]:
        if length <= self.size:
            return [0]
        return window_starts(length, self.size, self.overlap or 0)

    def _weights(self, length: int, like: Tensor) -> list[Tensor]:
        """One weight vector per window along an axis; they sum to one at every pixel."""
        size, starts = min(length, self.size), self._starts(length)
        precision = torch.float64 if like.dtype == torch.float64 and not self.rounded else torch.float32
        weights = [torch.ones(size, dtype=precision, device=like.device) for _ in starts]
        for index in range(1, len(starts)):
            shared = starts[index - 1] + size - starts[index]
            if self.overlap is None:
                weights[index][:shared] = 0
            elif shared > 0:
                ramp = torch.linspace(0, 1, shared, dtype=precision, device=like.device)
                if shared == 1:
                    # A single shared pixel has no two ends: both windows count half.
                    ramp.fill_(0.5)
                weights[index][:shared] *= ramp
                weights[index - 1][size - shared :] *= ramp.flip(0)
        weights = [weight.to(like.dtype) for weight in weights]
        if any(starts[index] + size > starts[index + 2] for index in range(len(starts) - 2)):
            total = like.new_zeros(length)
            for start, weight in zip(starts, weights, strict=True):
                total[start : start + size] += weight
            weights = [weight / total[start : start + size] for start, weight in zip(starts, weights, strict=True)]
        return weights
