"""What is recorded of estimators is what they compute, in every way of running, and recording changes nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deeprftv2_arch.analysis.kernels import central, log_spectrum, spatial_kernels
from deeprftv2_arch.analysis.recording import estimators_of, record
from deeprftv2_arch.analysis.true_kernels import best_correlation, convolve, division_spectrum, motion_kernel
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.nn.column_state import ColumnState, MapKey, MapKind
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.utils.errors import UserError


def network(**options: object) -> DeepRFTv2:
    torch.manual_seed(0)
    small = {'width': 8, 'num_blocks': [1, 1], 'block_types': [['naf'] * 2] * 2, 'num_columns': 2}
    return DeepRFTv2(**{**small, **options}).eval()


@pytest.mark.parametrize('reversible', [True, False])
def test_the_records_of_a_network_are_the_maps_of_its_columns(reversible: bool) -> None:
    net, x = network(reversible=reversible), torch.rand(1, 3, 16, 24)
    expected, state = {}, ColumnState({MapKey(n, MapKind.IMAGE): image for n, image in enumerate(image_pyramid(x, 2))})
    with torch.no_grad():
        for number, column in enumerate(net.columns):
            column.update(state)
            for scale in (0, 1):
                maps = [state.maps[MapKey(scale, MapKind.RESIDUAL, level)] for level in range(4)]
                expected[number, scale] = maps
    assert estimators_of(net).keys() == expected.keys()
    for place, estimator in estimators_of(net).items():
        for context in (torch.no_grad(), torch.enable_grad()):
            with context:
                plain = net(x)
                with record(estimator) as records:
                    assert torch.equal(net(x), plain)
            assert len(records) == 1
            assert len(records[0].residuals) == 5
            for recorded, residual in zip(records[0].residuals[1:], expected[place], strict=True):
                torch.testing.assert_close(recorded, residual)


@torch.no_grad()
def test_the_records_of_an_estimator_are_what_it_returns_and_applies() -> None:
    torch.manual_seed(0)
    estimator = FourierKernelEstimator(4)
    feature, image = torch.rand(1, 4, 8, 10), torch.rand(1, 3, 8, 10)
    with record(estimator) as records:
        output = estimator(feature, image)
    (found,) = records
    for recorded, residual in zip(found.residuals[1:], output.residuals, strict=True):
        assert torch.equal(recorded, residual)
    assert torch.equal(found.residuals[0], estimator.levels[0].entry(feature))
    assert torch.equal(found.before, estimator.convolution.project(feature))
    torch.testing.assert_close(found.after, torch.fft.irfft2(torch.fft.rfft2(found.before) * found.kernel))
    torch.testing.assert_close(estimator.convolution.fuse(found.after, feature), output.feature)


def test_a_network_without_estimators_is_told() -> None:
    with pytest.raises(UserError, match='no Fourier kernel estimators'):
        estimators_of(network(fke=False))


class Fixed(nn.Module):
    """Returns the spectrum of a kernel, for every channel."""

    def __init__(self, kernel: torch.Tensor) -> None:
        super().__init__()
        self.spectrum = torch.fft.rfft2(torch.fft.ifftshift(kernel, dim=(-2, -1)))

    def forward(self, residual: torch.Tensor) -> torch.Tensor:
        return self.spectrum.expand(*residual.shape[:2], -1, -1)


@torch.no_grad()
def test_an_estimator_that_has_a_known_kernel_shows_exactly_that_kernel() -> None:
    true = motion_kernel(15, 11, 30).float()
    whole = torch.zeros(32, 48)
    whole[16 - 7 : 16 + 8, 24 - 7 : 24 + 8] = true
    estimator = FourierKernelEstimator(2)
    estimator.convolution.head = Fixed(whole)
    image = torch.rand(1, 3, 32, 48)
    with record(estimator) as records:
        estimator(torch.rand(1, 2, 32, 48), image)
    shown = central(spatial_kernels(records[0].kernel), 15)
    torch.testing.assert_close(shown[0, 0], true, rtol=0, atol=1e-6)
    assert best_correlation(shown[0].mean(0).double(), true.double()) == pytest.approx(1, abs=1e-6)
    # And it blurs as that kernel does, borders apart.
    expected = convolve(records[0].before[0], true)
    torch.testing.assert_close(records[0].after[0, :, 8:-8, 8:-8], expected[:, 8:-8, 8:-8], rtol=0, atol=1e-5)


def test_the_division_finds_the_kernel_of_a_circular_blur() -> None:
    torch.manual_seed(0)
    sharp, kernel = torch.rand(1, 32, 48, dtype=torch.float64), torch.zeros(32, 48, dtype=torch.float64)
    kernel[16 - 7 : 16 + 8, 24 - 7 : 24 + 8] = motion_kernel(15, 9, 120)
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(kernel))
    blurred = torch.fft.irfft2(torch.fft.rfft2(sharp) * spectrum, s=sharp.shape[-2:])
    found = spatial_kernels(division_spectrum(blurred, sharp, 1e-12))[0]
    torch.testing.assert_close(found, kernel, rtol=0, atol=1e-6)


def test_correlation_is_free_of_shift_sign_and_scale() -> None:
    kernel = torch.zeros(33, 33, dtype=torch.float64)
    kernel[9:24, 9:24] = motion_kernel(15, 13, 60)
    for changed in (kernel, -3 * kernel, kernel.roll((4, -7), (0, 1)), kernel + 5):
        assert best_correlation(changed, motion_kernel(15, 13, 60)) == pytest.approx(1)
    assert best_correlation(kernel, motion_kernel(15, 13, 150)) < 0.6
    assert best_correlation(torch.ones(33, 33, dtype=torch.float64), motion_kernel(15, 13, 60)) == 0


def test_a_motion_is_a_line_of_its_length_and_angle() -> None:
    across = motion_kernel(9, 5, 0)
    assert across[4].sum() == pytest.approx(1)
    assert int((across[4] > 1e-9).sum()) == 5
    torch.testing.assert_close(motion_kernel(9, 5, 90), across.T)
    diagonal = motion_kernel(9, 7, 45)
    assert diagonal[2, 6] > 5 * diagonal[6, 6]  # towards the first row


def test_the_middle_of_a_map_and_its_spectrum() -> None:
    picture = torch.zeros(8, 10)
    picture[4, 5] = 1
    assert central(picture, 5)[2, 2] == 1
    torch.testing.assert_close(log_spectrum(picture), torch.full((8, 10), 1e-7).log1p(), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match='does not exist'):
        central(picture, 9)
