"""The sum of all loss terms, against golden values of the published loss and a computation by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss
from torch import nn

from deeprftv2_arch.losses import FrequencyLoss, frequency_distance
from deeprftv2_arch.models.supervision import supervise
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.utils.errors import UserError

GOLDEN = np.load(Path(__file__).parents[1] / 'golden' / 'losses.npz')


def criteria() -> dict[str, nn.Module]:
    return {'l_pix': build_loss({'type': 'L1Loss'}), 'l_fft': FrequencyLoss(0.01)}


def test_list_terms_equal_the_published_ones():
    a, b, c = (torch.from_numpy(GOLDEN[f'loss_{name}']) for name in 'abc')
    terms = supervise(criteria(), [[a, c]], b)
    assert terms['l_pix'].item() == pytest.approx(GOLDEN['loss_l1_list_ac_vs_b'].item(), rel=1e-12)
    assert terms['l_fft'].item() == pytest.approx(GOLDEN['loss_fourier_w0.01_list_ac_vs_b'].item(), rel=1e-12)


def test_coarse_scales_are_compared_with_the_pyramid_of_the_ground_truth():
    torch.manual_seed(0)
    target = torch.rand(2, 3, 24, 16, dtype=torch.float64)
    levels = image_pyramid(target, 4)
    outputs = [
        [torch.rand_like(level) for _ in range(count)] for level, count in zip(levels, (3, 2, 1, 1), strict=True)
    ]
    terms = supervise(criteria(), outputs, target)
    suffixes = ('', '_half', '_quarter', '_8th')
    assert list(terms) == [name + suffix for suffix in suffixes for name in ('l_pix', 'l_fft')]
    for suffix, predictions, level in zip(suffixes, outputs, levels, strict=True):
        pix = sum((p - level).abs().mean() for p in predictions) / len(predictions)
        fft = 0.01 * sum(frequency_distance(p, level) for p in predictions) / len(predictions)
        assert terms[f'l_pix{suffix}'].item() == pytest.approx(pix.item(), rel=1e-12)
        assert terms[f'l_fft{suffix}'].item() == pytest.approx(fft.item(), rel=1e-12)


def test_losses_of_several_terms_count_with_their_sum():
    class PerceptualProbe(nn.Module):
        def forward(self, prediction, target):
            return (prediction - target).abs().mean(), None

    image = torch.rand(1, 3, 8, 8)
    assert supervise({'l_percep': PerceptualProbe()}, [[image + 1]], image)['l_percep'].item() == pytest.approx(1)


def test_perfect_outputs_cost_nothing():
    target = torch.rand(1, 3, 16, 16)
    terms = supervise(criteria(), [[level] for level in image_pyramid(target, 2)], target)
    assert all(term.item() == 0 for term in terms.values())


def test_an_output_of_another_scale_is_told():
    with pytest.raises(UserError, match=r'gives 32 x 24 pixels where the ground truth has 16 x 12.*upscale'):
        supervise(criteria(), [[torch.rand(1, 3, 24, 32)]], torch.rand(1, 3, 12, 16))
