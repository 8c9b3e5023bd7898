"""Windows and the selection of DPDD's crops, against the steps of the published one written out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from prepare.miniatures import frame
from scipy import ndimage

from deeprftv2_arch.prepare.crops import Crops, chosen_windows, windows
from deeprftv2_arch.prepare.dpdd import CROPS


def test_windows_of_the_published_sets():
    assert windows(720, 1280, 512, 256) == [(top, left) for top in (0, 208) for left in (0, 256, 512, 768)]
    columns = (0, 204, 408, 612, 816, 1020, 1168)
    assert windows(1120, 1680, 512, 204) == [(top, left) for top in (0, 204, 408, 608) for left in columns]


@pytest.mark.parametrize(('height', 'width'), [(8, 8), (9, 8), (23, 31), (64, 40)])
@pytest.mark.parametrize('step', [1, 3, 8, 11])
def test_windows_lie_inside_and_reach_every_border(height, width, step):
    grid = windows(height, width, 8, step)
    assert len(set(grid)) == len(grid)
    tops, lefts = zip(*grid, strict=True)
    for starts, length in [(tops, height), (lefts, width)]:
        assert min(starts) == 0
        assert max(starts) == length - 8
        assert max(np.diff(sorted(set(starts))), default=0) <= step


def test_an_image_smaller_than_a_window_is_refused():
    with pytest.raises(ValueError, match='7 x 9 pixels are smaller than a crop of 8 x 8'):
        windows(9, 7, 8, 4)


def binomial_sobel(gray: np.ndarray, size: int, axis: int) -> np.ndarray:
    """A Sobel filter built from its definition: a binomial smoothing and the derivative of a binomial."""
    smooth = np.array([1.0])
    for _ in range(size - 1):
        smooth = np.convolve(smooth, [1, 1])
    derive = np.array([-1.0, 1])
    for _ in range(size - 2):
        derive = np.convolve(derive, [1, 1])
    along = ndimage.correlate1d(gray.astype(float), derive, axis=axis, mode='mirror')
    return ndimage.correlate1d(along, smooth, axis=1 - axis, mode='mirror')


def published_selection(sharp: np.ndarray, size: int, step: int, ratio: float) -> list[tuple[int, int]]:
    """Remove the smallest product again and again, as the published script does."""
    gray = cv2.cvtColor(sharp, cv2.COLOR_BGR2GRAY)
    grid = windows(*gray.shape, size, step)
    fitness = np.ones(len(grid))
    for kernel in (3, 7, 11, 15):
        sums = []
        for top, left in grid:
            patch = gray[top : top + size, left : left + size]
            across, down = binomial_sobel(patch, kernel, 1), binomial_sobel(patch, kernel, 0)
            sums.append(np.hypot(across, down).sum())
        fitness *= (np.array(sums) - min(sums)) / (max(sums) - min(sums))
    removed = set()
    for _ in range(int(ratio * len(grid))):
        smallest = min((value, index) for index, value in enumerate(fitness) if index not in removed)[1]
        removed.add(smallest)
    return [window for index, window in enumerate(grid) if index not in removed]


@pytest.mark.parametrize('white', [255, 65535])
@pytest.mark.parametrize('scene', [1, 2, 3])
def test_the_selection_is_the_published_one(scene, white):
    _, sharp = frame(scene, 0, (112, 168), white=white)
    weight = np.linspace(0.1, 1, 168)[None, :, None]
    sharp = (sharp * weight).astype(sharp.dtype)
    chosen = chosen_windows(sharp, Crops(size=52, step=20, drop=0.3))
    assert chosen == published_selection(sharp, 52, 20, 0.3)
    assert len(chosen) == Crops(52, 20, 0.3).count(112, 168) < len(windows(112, 168, 52, 20))


def test_20_of_28_windows_of_dpdd_are_kept_and_the_flat_ones_dropped():
    sharp = np.full((1120, 1680, 3), 30000, np.uint16)
    sharp[:, 716:] = np.random.default_rng(0).integers(0, 65536, (1120, 964, 3), np.uint16)
    chosen = chosen_windows(sharp, CROPS)
    assert len(chosen) == 20
    assert {left for _, left in windows(1120, 1680, 512, 204)} - {left for _, left in chosen} == {0, 204}


def test_an_image_without_any_detail_keeps_the_right_number():
    crops = Crops(52, 20, 0.3)
    assert len(chosen_windows(np.zeros((112, 168, 3), np.uint8), crops)) == crops.count(112, 168)
