"""FrequencyLoss against golden values of the published loss, NumPy's FFT, and identities of the transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.losses import build_loss

from deeprftv2_arch.losses import FrequencyLoss, frequency_distance

GOLDEN = np.load(Path(__file__).parents[1] / 'golden' / 'losses.npz')


def golden(name: str, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(GOLDEN[name]).to(dtype)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_published_loss(dtype, tolerance):
    a, b, c = (golden(f'loss_{name}', dtype) for name in 'abc')
    loss = FrequencyLoss(loss_weight=0.01)
    assert loss(a, b).item() == pytest.approx(GOLDEN['loss_fourier_w0.01_ab'].item(), rel=tolerance)
    assert loss([a, c], b).item() == pytest.approx(GOLDEN['loss_fourier_w0.01_list_ac_vs_b'].item(), rel=tolerance)


def test_equals_numpy_at_odd_sizes():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 7, 9)), rng.random((2, 3, 7, 9))
    modulus = np.abs(np.fft.rfft2(a) - np.fft.rfft2(b))
    a, b = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(frequency_distance(a, b, 'none').numpy(), modulus, rtol=1e-12, atol=1e-12)
    assert frequency_distance(a, b, 'sum').item() == pytest.approx(modulus.sum(), rel=1e-12)
    assert frequency_distance(a, b).item() == pytest.approx(modulus.mean(), rel=1e-12)


def test_a_constant_offset_is_all_in_the_first_bin():
    image = torch.rand(1, 1, 6, 8, dtype=torch.float64)
    # F(offset) is offset * H * W at frequency zero and nothing elsewhere; the half spectrum has 6 * 5 bins.
    assert frequency_distance(image + 0.5, image).item() == pytest.approx(0.5 * 6 * 8 / (6 * 5), rel=1e-12)


def test_gradient_is_right():
    a, b = torch.rand(2, 1, 2, 5, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(frequency_distance, (a.requires_grad_(), b))


def test_gradient_is_zero_and_finite_for_equal_images():
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    frequency_distance(image, image.detach().clone()).backward()
    assert torch.equal(image.grad, torch.zeros_like(image))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    # All ones against zeros: the first bin alone is 512 * 512, four times the largest float16.
    ones = torch.ones(1, 1, 512, 512, dtype=dtype)
    loss = frequency_distance(ones, torch.zeros_like(ones), 'sum')
    assert loss.dtype == torch.float32
    assert loss.item() == 512 * 512


def test_autocast_does_not_lower_the_precision():
    a, b = torch.rand(2, 1, 3, 16, 16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = frequency_distance(a, b)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, frequency_distance(a, b))


def test_is_built_from_an_option_file():
    options = {'type': 'FrequencyLoss', 'loss_weight': 0.5, 'reduction': 'sum'}
    a, b = torch.rand(2, 1, 3, 8, 8)
    assert torch.equal(build_loss(options)(a, b), 0.5 * frequency_distance(a, b, 'sum'))


def test_wrong_arguments_are_refused():
    image = torch.rand(1, 3, 8, 8)
    with pytest.raises(ValueError, match='same shape'):
        frequency_distance(image, image[..., :1])
    with pytest.raises(ValueError, match='reduction'):
        frequency_distance(image, image, 'median')
    with pytest.raises(ValueError, match='reduction'):
        FrequencyLoss(reduction='median')
    with pytest.raises(ValueError, match='empty'):
        FrequencyLoss()([], image)
