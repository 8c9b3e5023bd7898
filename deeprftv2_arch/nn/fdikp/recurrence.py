"""Dual-domain scale recurrence: fuse deconvolved images from coarse to fine, with a state in space and frequency."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.nn.fke import FourierWindows, rfft2
from deeprftv2_arch.nn.fourier import irfft2
from deeprftv2_arch.nn.pointwise import PointwiseConv2d, PointwiseFusion
from deeprftv2_arch.nn.precision import at_least_float32

Domains = Literal['both', 'spatial', 'frequency']
DOMAINS = ('both', 'spatial', 'frequency')


class State(NamedTuple):
    """What one scale hands to the next finer one: hidden and cell state, each (N, S, h, w)."""

    hidden: Tensor
    cell: Tensor


def enlarged(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear interpolation to a height and a width."""
    return F.interpolate(x, size=(height, width), mode='bilinear', align_corners=False)


class ConvolutionalLSTM(nn.Module):
    """One step of a long short-term memory whose gates are convolutions (Shi et al., NeurIPS 2015).

    Args:
        channels: Channels C of the input.
        state_channels: Channels S of the state.
        kernel_size: Side of the convolutions; 1 keeps pixels apart.

    Shape:
        (N, C, H, W), state of (N, S, H, W) or None for zeros -> state.
    """

    def __init__(self, channels: int, state_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.state_channels = state_channels
        self.gates = nn.Conv2d(channels + state_channels, 4 * state_channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor, state: State | None) -> State:
        if state is None:
            zeros = x.new_zeros(x.shape[0], self.state_channels, *x.shape[-2:])
            state = State(zeros, zeros)
        gates = at_least_float32(self.gates(torch.cat([x, state.hidden.to(x.dtype)], dim=1)))
        enter, keep, leave, value = gates.chunk(4, dim=1)
        cell = torch.sigmoid(keep) * state.cell + torch.sigmoid(enter) * torch.tanh(value)
        return State(torch.sigmoid(leave) * torch.tanh(cell), cell)


class SpectralFilter(nn.Module):
    """A non-linear function of every frequency by itself: two 1x1 convolutions of real and imaginary parts.

    Args:
        channels: Channels C.
        window: Take the spectrum in windows of this many pixels where the map is larger; None for the whole map.

    Shape:
        (N, C, H, W) -> (N, C, H, W), float32 at least. Every output pixel depends on every pixel of map or window.
    """

    def __init__(self, channels: int, window: int | None = None) -> None:
        super().__init__()
        self.windows = FourierWindows(window, 0 if window is None else window // 4, rounded=False)
        self.enter = PointwiseFusion(2 * channels, 2 * channels)
        self.leave = PointwiseConv2d(2 * channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        parts = self.windows.split(x)
        rows, columns = parts.shape[-2:]
        # Divided by the root of the number of pixels: the spectrum then has the scale of the map, whatever its size.
        scale = (rows * columns) ** 0.5
        spectrum = rfft2(parts) / scale
        changed = self.leave(F.gelu(self.enter(spectrum.real, spectrum.imag)))
        real, imaginary = at_least_float32(changed).chunk(2, dim=1)
        parts = irfft2(torch.complex(real, imaginary) * scale, rows, columns)
        return self.windows.merge(parts, height, width)


class DualDomainScaleRecurrence(nn.Module):
    """Fuse what was deconvolved out of the blurred image and out of the coarser scale's result.

    A recurrent cell carries a state from scale to scale, at half the resolution of each. It weighs every deconvolved
    image at every pixel, and through its spectrum adds what depends on the whole map. The result is a change of the
    first deconvolved image, and none at the start.

    Args:
        channels: Channels C of the feature map.
        stack_size: Deconvolved images S in each of the two stacks.
        image_channels: Channels K of the image.
        state_channels: Channels of the recurrent state.
        domains: ``both``; ``spatial``: no spectrum; ``frequency``: the cell looks at single pixels, so that pixels
            meet in the spectrum alone.
        spectral_window: See :class:`SpectralFilter`, at the resolution of the state.

    Shape:
        feature (N, C, H, W); image (N, K, H, W), to be changed; stack and previous_stack (N, S, K, H, W); state of
        another scale or None -> image (N, K, H, W), state at (H + 1) // 2 x (W + 1) // 2.

    Raises:
        ValueError: An unknown domain.

    Example:
        >>> import torch
        >>> fuse = DualDomainScaleRecurrence(channels=8, stack_size=2, state_channels=4)
        >>> feature, image, stack = torch.rand(1, 8, 12, 10), torch.rand(1, 3, 12, 10), torch.rand(1, 2, 3, 12, 10)
        >>> restored, state = fuse(feature, image, stack, stack)
        >>> restored.shape, state.hidden.shape
        (torch.Size([1, 3, 12, 10]), torch.Size([1, 4, 6, 5]))
        >>> feature, image, stack = torch.rand(1, 8, 24, 20), torch.rand(1, 3, 24, 20), torch.rand(1, 2, 3, 24, 20)
        >>> finer, state = fuse(feature, image, stack, stack, state)
        >>> finer.shape
        torch.Size([1, 3, 24, 20])
    """

    def __init__(
        self,
        channels: int,
        *,
        stack_size: int,
        image_channels: int = 3,
        state_channels: int = 48,
        domains: Domains = 'both',
        spectral_window: int | None = None,
    ) -> None:
        super().__init__()
        if domains not in DOMAINS:
            raise ValueError(f'domains must be one of {", ".join(DOMAINS)}, got {domains!r}')
        stacked = 2 * stack_size * image_channels
        self.gather = nn.Conv2d(channels + stacked, channels, 3, padding=1)
        self.cell = ConvolutionalLSTM(channels, state_channels, 1 if domains == 'frequency' else 3)
        self.spectral = None if domains == 'spatial' else SpectralFilter(state_channels, spectral_window)
        self.weigh_state = PointwiseConv2d(state_channels, 2 * stack_size)
        self.weigh_feature = nn.Conv2d(channels, 2 * stack_size, 3, padding=1)
        self.add_stack = PointwiseConv2d(stacked, image_channels, bias=False)
        self.add_feature = nn.Conv2d(channels + state_channels, image_channels, 3, padding=1)
        for last in (*self.add_stack.parameters(), *self.add_feature.parameters()):
            nn.init.zeros_(last)

    def forward(
        self, feature: Tensor, image: Tensor, stack: Tensor, previous_stack: Tensor, state: State | None = None
    ) -> tuple[Tensor, State]:
        height, width = image.shape[-2:]
        stacks = torch.cat([stack, previous_stack], dim=1)  # n 2s k h w
        gathered = self.gather(torch.cat([feature, stacks.flatten(1, 2)], dim=1))
        pooled = F.avg_pool2d(gathered, 2, ceil_mode=True)
        if state is not None:
            state = State(*(enlarged(part, *pooled.shape[-2:]) for part in state))
        state = self.cell(pooled, state)
        from_state = enlarged(at_least_float32(self.weigh_state(state.hidden)), height, width)
        # Weights in (-1, 1), in the form of GKMNet and P2IKT.
        weights = 2 * torch.sigmoid(from_state * self.weigh_feature(gathered) + from_state) - 1
        whole = state.hidden if self.spectral is None else self.spectral(state.hidden)
        weighted = (weights.unsqueeze(2) * stacks).flatten(1, 2)
        added = self.add_feature(torch.cat([gathered, enlarged(whole, height, width)], dim=1))
        return image + self.add_stack(weighted) + added, state
