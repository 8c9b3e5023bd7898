"""The image pyramid against the published values, the sliding mean against torch's pooling."""

from __future__ import annotations

import pytest
import torch
from published import TOLERANCE, distance, load
from torch.nn import functional as F

from deeprftv2_arch.nn.pooling import MeanPool, local_mean
from deeprftv2_arch.nn.pyramid import halve, image_pyramid

GOLDEN = load('modules')


@pytest.mark.parametrize('size', ['20x28', '21x27'])
@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
def test_pyramid_has_the_published_values(size: str, dtype: torch.dtype) -> None:
    image = torch.from_numpy(GOLDEN[f'pyr_in_{size}']).to(dtype)
    same, first, second = image_pyramid(image, 3)
    assert same is image
    assert distance(first, GOLDEN[f'pyr_l1_{size}']) < TOLERANCE[dtype]
    assert distance(second, GOLDEN[f'pyr_l2_{size}']) < TOLERANCE[dtype]


@pytest.mark.parametrize('size', [(1, 1), (2, 5), (3, 3), (7, 1)])
def test_halving_keeps_a_flat_image_at_any_size(size: tuple[int, int]) -> None:
    half = halve(torch.full((1, 2, *size), 0.25))
    assert half.shape == (1, 2, max(size[0] // 2, 1), max(size[1] // 2, 1))
    torch.testing.assert_close(half, torch.full_like(half, 0.25))


@pytest.mark.parametrize('kernel', [1, 2, 5, 9])
def test_the_inside_of_the_sliding_mean_is_average_pooling(kernel: int) -> None:
    x = torch.rand(2, 3, 9, 12, dtype=torch.float64) + 100
    mean = local_mean(x, kernel)
    assert mean.shape == x.shape
    pooled = F.avg_pool2d(x, kernel, stride=1)
    top, left = (9 - pooled.shape[2]) // 2, (12 - pooled.shape[3]) // 2
    inside = mean[..., top : top + pooled.shape[2], left : left + pooled.shape[3]]
    torch.testing.assert_close(inside, pooled, rtol=0, atol=1e-11)
    # Outside, the outermost means are repeated.
    assert torch.equal(mean[..., 0, :], mean[..., top, :])
    assert torch.equal(mean[..., -1], mean[..., left + pooled.shape[3] - 1])


def test_a_window_longer_than_one_side_is_cut_to_it() -> None:
    x = torch.rand(1, 1, 4, 30, dtype=torch.float64)
    pooled = F.avg_pool2d(x, (4, 7), stride=1)
    torch.testing.assert_close(local_mean(x, 7)[..., 0, 3:-3], pooled[..., 0, :])


def test_pooling_over_the_whole_map() -> None:
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(MeanPool()(x), F.adaptive_avg_pool2d(x, 1))
    torch.testing.assert_close(MeanPool(9)(x), F.adaptive_avg_pool2d(x, 1))


def test_long_float32_maps_lose_no_precision() -> None:
    x = torch.rand(1, 1, 3000, 8) + 1000
    exact = local_mean(x.double(), 5)
    torch.testing.assert_close(local_mean(x, 5).double(), exact, rtol=1e-7, atol=0)
