"""Windows: the covers used for training (hard) and for tests (blended)."""

from __future__ import annotations

import pytest
import torch

from deeprftv2_arch.nn.windows import Windows, pad_to_multiple, window_starts

SIZES = [(8, 8), (8, 9), (9, 30), (16, 17), (23, 8), (31, 40), (3, 50)]


def test_starts_of_the_published_tiles() -> None:
    # 720x1280 in tiles of 512 with 128 shared pixels.
    assert window_starts(720, 512, 128) == [0, 208]
    assert window_starts(1280, 512, 128) == [0, 384, 768]


@pytest.mark.parametrize(('height', 'width'), SIZES)
@pytest.mark.parametrize('overlap', [None, 0, 1, 2, 3, 7])
def test_merge_undoes_split(height: int, width: int, overlap: int | None) -> None:
    windows = Windows(8, overlap)
    x = torch.rand(2, 3, height, width, dtype=torch.float64)
    parts = windows.split(x)
    assert parts.shape[2:] == (min(height, 8), min(width, 8))
    torch.testing.assert_close(windows.merge(parts, height, width), x, rtol=0, atol=1e-6)  # float32 ramps


@pytest.mark.parametrize('length', range(8, 60))
def test_blending_is_a_partition_of_unity_and_never_negative(length: int) -> None:
    windows = Windows(8, 3)
    weights = windows._weights(length, torch.zeros((), dtype=torch.float64))
    assert all((weight >= 0).all() for weight in weights)
    count = len(window_starts(length, 8, 3))
    merged = windows.merge(torch.ones(count, 1, 8, 8, dtype=torch.float64), length, 8)
    torch.testing.assert_close(merged, torch.ones(1, 1, length, 8, dtype=torch.float64), rtol=0, atol=1e-6)


def test_two_windows_cross_fade_linearly_with_the_end_points() -> None:
    windows = Windows(6, 4)
    parts = torch.stack([torch.zeros(1, 6, 1), torch.ones(1, 6, 1)])
    merged = windows.merge(parts, 8, 1).flatten()
    torch.testing.assert_close(merged, torch.tensor([0, 0, 0, 1 / 3, 2 / 3, 1, 1, 1]))


def test_a_hard_window_that_was_moved_back_counts_only_where_no_other_is() -> None:
    parts = torch.stack([torch.full((1, 4, 1), float(index)) for index in range(3)])
    merged = Windows(4).merge(parts, 10, 1).flatten()
    assert merged.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_gradients_pass_through() -> None:
    windows = Windows(4, 2)
    x = torch.rand(1, 1, 7, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: windows.merge(windows.split(x).sin(), 7, 9), x)


@pytest.mark.parametrize(('size', 'overlap'), [(0, None), (8, 8), (8, -1)])
def test_windows_that_cannot_be_are_refused(size: int, overlap: int | None) -> None:
    with pytest.raises(ValueError, match='window'):
        Windows(size, overlap)


@pytest.mark.parametrize(('height', 'width'), [(8, 12), (9, 14), (2, 1)])
def test_sides_become_multiples_and_the_image_stays(height, width):
    x = torch.rand(1, 3, height, width)
    padded = pad_to_multiple(x, 4)
    assert padded.shape[-2] % 4 == padded.shape[-1] % 4 == 0
    assert padded.shape[-2] - height < 4
    assert torch.equal(padded[..., :height, :width], x)
    if height == 9:
        assert torch.equal(padded[..., 9, :width], x[..., 7, :])  # mirrored
