"""Figure 2: the identity behind the picture, and that it shows a blur."""

from __future__ import annotations

import pytest
import torch
from scipy import ndimage

from deeprftv2_arch.analysis.blur_pattern import blur_pattern


@pytest.mark.parametrize('size', [(16, 18), (15, 21), (7, 8)])
def test_the_even_part_is_half_the_inverse_transform_of_the_real_parts_modulus(size):
    image = torch.rand(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pattern = torch.fft.ifftshift(blur_pattern(image), dim=(-2, -1))
    mirrored = pattern.flip(-2, -1).roll((1, 1), (-2, -1))
    expected = torch.fft.ifft2(torch.fft.fft2(image).real.abs()).real / 2
    torch.testing.assert_close((pattern + mirrored) / 2, expected)


def ridge(pattern: torch.Tensor, length: int) -> tuple[float, float]:
    """Mean along the row and along the column through the middle, the middle itself left out."""
    y, x = pattern.shape[0] // 2, pattern.shape[1] // 2
    steps = torch.tensor([*range(-length, 0), *range(1, length + 1)])
    return float(pattern[y, x + steps].mean()), float(pattern[y + steps, x].mean())


def spread(pattern: torch.Tensor, axis: int) -> float:
    """Root mean square distance from the middle along an axis, weighted with the square of the pattern."""
    line = pattern[128] if axis == 1 else pattern[:, 128]
    steps = torch.arange(-40, 41)
    weights = line[128 + steps] ** 2
    return float((weights * steps**2).sum() / weights.sum()) ** 0.5


def test_a_blur_along_a_direction_gives_a_ridge_along_it_as_long_as_the_blur():
    noise = torch.rand(256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).numpy()
    noise -= noise.mean()
    for axis in (0, 1):
        short, long = (
            blur_pattern(torch.from_numpy(ndimage.uniform_filter1d(noise, length, axis, mode='wrap')))
            for length in (5, 15)
        )
        along_row, along_column = ridge(long, 6)
        along, across = (along_row, along_column) if axis == 1 else (along_column, along_row)
        assert along > 5 * abs(across)
        assert spread(long, axis) > 1.5 * spread(short, axis)
