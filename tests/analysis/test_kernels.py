"""The kernels of the Fourier kernel estimator as pictures."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from deeprftv2_arch.analysis.kernels import kernel_picture, record_kernels, spatial_kernels
from deeprftv2_arch.nn.fke import FourierKernelEstimator


def test_no_shift_lies_in_the_middle():
    kernel = spatial_kernels(torch.ones(1, 1, 6, 5, dtype=torch.complex64))[0, 0]
    expected = torch.zeros(6, 8)
    expected[3, 4] = 1
    torch.testing.assert_close(kernel, expected)


def test_a_kernel_applied_in_fourier_space_is_found_again():
    torch.manual_seed(0)
    kernel = torch.rand(2, 3, 8, 10, dtype=torch.float64)
    spectrum = torch.fft.rfft2(torch.fft.ifftshift(kernel, dim=(-2, -1)))
    torch.testing.assert_close(spatial_kernels(spectrum), kernel)
    # Against a circular convolution in the image plane.
    image = torch.rand(1, 1, 8, 10, dtype=torch.float64)
    filtered = torch.fft.irfft2(torch.fft.rfft2(image) * spectrum[:1, :1])
    shown = spatial_kernels(spectrum)[:1, :1].flip(2, 3)
    expected = F.conv2d(F.pad(image, (4, 5, 3, 4), mode='circular'), shown)
    torch.testing.assert_close(filtered, expected, rtol=0, atol=1e-12)


def test_the_picture_is_independent_of_sign_and_scale_of_a_channel():
    torch.manual_seed(0)
    kernels, common = torch.randn(2, 3, 8, 8), torch.randn(3, 8, 8)
    factors = torch.tensor([2.0, -0.1, 30.0]).view(3, 1, 1)
    for reference in (None, common):
        picture = kernel_picture(kernels, reference)
        torch.testing.assert_close(
            kernel_picture(kernels * factors, reference if reference is None else reference * factors), picture
        )
        torch.testing.assert_close(picture.sum(), torch.tensor(1.0))
        assert picture.min() >= 0


def test_what_all_kernels_have_in_common_is_left_out():
    common = torch.zeros(2, 7, 7)
    common[:, 3, 3] = 1
    found = torch.zeros(1, 2, 7, 7)
    found[..., 3, 1:6] = 0.01
    expected = torch.zeros(7, 7)
    expected[3, 1:6] = 0.2
    torch.testing.assert_close(kernel_picture(common + found, common), expected)
    assert kernel_picture(common + found)[3, 3] > 0.9


def test_recorded_kernels_are_those_that_the_estimator_applies():
    torch.manual_seed(0)
    estimator = FourierKernelEstimator(channels=4, window=8, overlap=2).eval()
    feature, image = torch.rand(1, 4, 8, 8), torch.rand(1, 3, 8, 8)
    with record_kernels(estimator) as spectra, torch.no_grad():
        output = estimator(feature, image)
        estimator(torch.rand(1, 4, 8, 14), torch.rand(1, 3, 8, 14))
    assert [tuple(spectrum.shape) for spectrum in spectra] == [(1, 4, 8, 5), (2, 4, 8, 5)]
    convolution = estimator.convolution
    with torch.no_grad():
        filtered = torch.fft.irfft2(torch.fft.rfft2(convolution.project(feature)) * spectra[0])
        torch.testing.assert_close(convolution.fuse(torch.cat([filtered, feature], 1)), output.feature)
        estimator(feature, image)
    assert len(spectra) == 2
