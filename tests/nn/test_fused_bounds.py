"""The compiled passes read and write nothing but their arrays: around inputs stand NaN, around results a number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeprftv2_arch.nn.fused import depthwise_gradient, gradients, kernels, scan_kernels
from deeprftv2_arch.nn.fused.calls import lanes, packed

EPS = np.float32(1e-6)
MARGIN, MARK = 128, 12345  # floats around every array, and their value around results
# H, W: a pixel, a row, a column, one tile of a row and a little more, parts of unequal widths.
SIZES = [(1, 1), (1, 2), (3, 1), (2, 97), (2, 128), (2, 257)]


class Memory:
    """Hands out arrays with something around them that shows when it is read or written."""

    def __init__(self) -> None:
        self.buffers: list[np.ndarray] = []
        self.generator = np.random.default_rng(0)

    def drawn(self, *shape: int) -> np.ndarray:
        """An input."""
        array = _within(shape, np.nan)[MARGIN:-MARGIN].reshape(shape)
        array[:] = self.generator.standard_normal(shape)
        return array

    def panels(self, outputs: int, inputs: int) -> np.ndarray:
        """Packed weights."""
        return self.drawn(*packed(torch.empty(outputs, inputs)).shape)

    def zeros(self, *shape: int) -> np.ndarray:
        """A result."""
        self.buffers.append(_within(shape, MARK))
        array = self.buffers[-1][MARGIN:-MARGIN].reshape(shape)
        array[:] = 0
        return array

    def check(self) -> None:
        """What was read beyond an input has put NaN into a result; what was written beyond a result is no mark."""
        for buffer in self.buffers:
            assert np.isfinite(buffer[MARGIN:-MARGIN]).all()
            assert (buffer[:MARGIN] == MARK).all()
            assert (buffer[-MARGIN:] == MARK).all()


def _within(shape: tuple[int, ...], margin: float) -> np.ndarray:
    return np.full(int(np.prod(shape)) + 2 * MARGIN, margin, np.float32)


@pytest.mark.parametrize('gates', [True, False], ids=['gates', 'gelu'])
@pytest.mark.parametrize('channels', [16, 48, 64])
@pytest.mark.parametrize('size', SIZES, ids=str)
def test_depthwise_passes_stay_within_their_arrays(size: tuple[int, int], channels: int, gates: bool) -> None:
    memory, height, wide = Memory(), size[0], 2 * channels
    drawn, zeros, panels = memory.drawn, memory.zeros, memory.panels
    result = channels if gates else wide
    kernels.norm_expand_depthwise(
        drawn(*size, channels), EPS, panels(wide, channels), drawn(1, wide), drawn(9, wide), drawn(wide), gates,
        zeros(*size, result), zeros(height, result), zeros(*size, wide), 0, height,
    )  # fmt: skip
    depthwise_gradient.norm_expand_depthwise(
        drawn(*size, result), drawn(result), drawn(*size, channels), drawn(*size, wide), EPS, panels(channels, wide),
        drawn(9, wide), drawn(wide), gates, zeros(*size, channels),
        zeros(wide, channels), zeros(wide), zeros(9, wide), zeros(wide), 0, height,
    )  # fmt: skip
    memory.check()


@pytest.mark.parametrize('channels', [16, 48, 64])
@pytest.mark.parametrize('pixels', [1, 5, 95, 96, 97, 200])
def test_passes_over_pixels_stay_within_their_arrays(pixels: int, channels: int) -> None:
    memory, wide = Memory(), 2 * channels
    drawn, zeros, panels = memory.drawn, memory.zeros, memory.panels

    def narrow() -> np.ndarray:
        return drawn(pixels, channels)

    def broad() -> np.ndarray:
        return drawn(pixels, wide)

    kernels.update(narrow(), broad(), panels(wide, channels), drawn(1, wide), zeros(pixels, wide), 0, pixels)
    gradients.update(
        broad(), narrow(), panels(channels, wide), zeros(pixels, channels), zeros(wide, channels), zeros(wide),
        0, pixels,
    )  # fmt: skip
    kernels.feed_forward(
        narrow(), EPS, panels(wide, channels), drawn(1, wide), panels(channels, channels), drawn(1, channels),
        zeros(pixels, channels), zeros(pixels, wide), 0, pixels,
    )  # fmt: skip
    gradients.feed_forward(
        narrow(), narrow(), broad(), EPS, panels(channels, wide), panels(channels, channels), zeros(pixels, channels),
        zeros(wide, channels), zeros(wide), zeros(channels, channels), zeros(channels), 0, pixels,
    )  # fmt: skip
    kernels.gated_update(
        broad(), narrow(), narrow(), EPS, drawn(wide), drawn(wide), EPS, panels(wide, channels), drawn(1, wide),
        panels(channels, wide), drawn(1, channels), zeros(pixels, channels), zeros(pixels, wide), 0, pixels,
    )  # fmt: skip
    gradients.gated_update(
        narrow(), broad(), narrow(), broad(), EPS, drawn(wide), drawn(wide), EPS, panels(channels, wide),
        panels(wide, channels), zeros(pixels, wide), zeros(pixels, channels), zeros(wide), zeros(wide),
        zeros(wide, channels), zeros(wide), zeros(channels, wide), 0, pixels,
    )  # fmt: skip
    memory.check()


@pytest.mark.parametrize(('first', 'last'), [(0, 1), (0, 5), (0, 96), (90, 103), (1, 200)])
def test_scan_passes_stay_within_their_arrays(first: int, last: int) -> None:
    memory, inner, steps, length = Memory(), 48, lanes(), last
    drawn, zeros, panels = memory.drawn, memory.zeros, memory.panels
    channels = steps + 16
    scan_kernels.project(
        drawn(length, inner), panels(channels, inner), drawn(7, channels), drawn(channels), panels(inner, steps),
        zeros(length, inner), zeros(length, 16), zeros(length, channels), first, last,
    )  # fmt: skip
    scan_kernels.project_gradient(
        drawn(length, inner), drawn(length, 16), drawn(length, inner), drawn(length, channels), drawn(7, channels),
        drawn(7, channels), drawn(channels), panels(steps, inner), panels(inner, channels), zeros(length, inner),
        zeros(channels, inner), zeros(7, channels), zeros(channels), zeros(inner, steps), first, last,
    )  # fmt: skip
    memory.check()
