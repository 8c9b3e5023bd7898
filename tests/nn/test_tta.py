"""Padding and the self-ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeprftv2_arch.nn.tta import mirror_pad, self_ensemble


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (3, 16), (15, 17), (32, 5)])
def test_mirrored_with_the_edge_pixel_as_numpy_does(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    missing = [(0, -side % 16) for side in size]
    expected = np.pad(x.numpy(), [(0, 0), (0, 0), *missing], mode='symmetric')
    assert np.array_equal(mirror_pad(x, 16).numpy(), expected)


def test_the_ensemble_turns_every_view_back() -> None:
    x, seen = torch.rand(2, 3, 4, 6), []

    def run(view: torch.Tensor) -> torch.Tensor:
        seen.append(view)
        return torch.nn.functional.interpolate(view, scale_factor=2, mode='nearest')

    torch.testing.assert_close(self_ensemble(run, x), torch.nn.functional.interpolate(x, scale_factor=2))
    views = {view.contiguous().numpy().tobytes() for view in seen}
    turned = (torch.rot90(flipped, turns, (-2, -1)) for flipped in (x, x.flip(-1)) for turns in range(4))
    assert views == {view.contiguous().numpy().tobytes() for view in turned}
    assert len(views) == 8
