"""The Fourier kernel estimator: published values, and what convolution in Fourier space must do."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
import torch
from published import TOLERANCE, distance, fill, load
from torch.nn import functional as F

from deeprftv2_arch.checkpoints.published_keys.deeprftv2 import published_fke_key
from deeprftv2_arch.nn import fke
from deeprftv2_arch.nn.fke import FourierKernelEstimator, KernelConvolution

GOLDEN = load('modules')


@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@torch.no_grad()
def test_a_chain_of_two_has_the_published_values(dtype: torch.dtype) -> None:
    image, residuals = torch.from_numpy(GOLDEN['FKE_blur']).to(dtype), None
    for index in (1, 2):
        estimator = fill(FourierKernelEstimator(48, first=index == 1), published_fke_key, dtype).eval()
        seen = {}
        estimator.levels[0].entry.register_forward_hook(lambda _, inputs, output, seen=seen: seen.update(r0=output))
        estimator.convolution.head.register_forward_hook(
            lambda _, inputs, output, seen=seen: seen.update(otf_real=output.real, otf_imag=output.imag)
        )
        output = estimator(torch.from_numpy(GOLDEN[f'FKE_x{index}']).to(dtype), image, residuals)
        residuals = output.residuals
        seen |= {'feature': output.feature} | {f'r{k + 1}': residual for k, residual in enumerate(residuals)}
        assert distance(output.image, GOLDEN[f'FKE{index}_img']) < TOLERANCE[dtype]
        for name, value in seen.items():
            assert distance(value[:, ::16], GOLDEN[f'FKE{index}_{name}']) < TOLERANCE[dtype], name


class FixedHead(torch.nn.Module):
    """A kernel head that returns the spectrum of given kernels."""

    def __init__(self, kernels: torch.Tensor) -> None:
        super().__init__()
        self.kernels = kernels

    def forward(self, residual: torch.Tensor) -> torch.Tensor:
        return torch.fft.rfft2(self.kernels)


@pytest.mark.parametrize('size', [(8, 8), (7, 9), (5, 6), (1, 1), (1, 4)])
@torch.no_grad()
def test_the_kernel_is_convolved_with_the_feature(size: tuple[int, int]) -> None:
    """Against a convolution in space with circular borders; odd sides are made even by mirroring."""
    channels, odd = 3, torch.rand(1, 3, *size, dtype=torch.float64)
    feature = torch.from_numpy(
        np.pad(odd, [(0, 0), (0, 0), *((0, side % 2) for side in size)], mode='reflect')  # repeats a single pixel
    )
    size, (height, width) = feature.shape[-2:], size
    kernels = torch.rand(channels, *size, dtype=torch.float64)
    convolution = KernelConvolution(channels, fke.FourierWindows(None, 0)).double()
    torch.nn.init.dirac_(convolution.project.weight)
    convolution.fuse.weight.zero_()
    torch.nn.init.dirac_(convolution.fuse.weight[:, :channels])
    convolution.head = FixedHead(kernels)
    expected = F.conv2d(
        F.pad(feature, (size[1] - 1, 0, size[0] - 1, 0), mode='circular') if max(size) > 1 else feature,
        kernels.flip(-2, -1)[:, None],
        groups=channels,
    )
    torch.testing.assert_close(convolution(odd, torch.empty(0)), expected[..., :height, :width])


def test_windows_are_hard_in_training_and_blended_in_evaluation() -> None:
    torch.manual_seed(0)
    estimator = FourierKernelEstimator(4, window=8, overlap=4).double()
    feature, image = torch.rand(2, 4, 8, 20, dtype=torch.float64), torch.zeros(2, 3, 8, 20, dtype=torch.float64)
    trained = estimator(feature, image).feature
    # A hard window is an image of its own: the last one starts at 12 and counts from 16.
    for start, keep in ((0, slice(0, 8)), (8, slice(8, 16)), (12, slice(16, 20))):
        alone = estimator(feature[..., start : start + 8], image[..., start : start + 8]).feature
        torch.testing.assert_close(trained[..., keep], alone[..., keep.start - start : keep.stop - start])
    evaluated = estimator.eval()(feature, image)
    assert evaluated.residuals[0].shape == (2 * 4, 4, 8, 5)
    assert not torch.allclose(evaluated.feature, trained)


def test_residuals_must_fit_the_place_in_the_chain() -> None:
    feature, image = torch.rand(1, 4, 8, 8), torch.rand(1, 3, 8, 8)
    output = FourierKernelEstimator(4)(feature, image)
    with pytest.raises(ValueError, match='first=False'):
        FourierKernelEstimator(4)(feature, image, output.residuals)
    with pytest.raises(ValueError, match='needs the residuals'):
        FourierKernelEstimator(4, first=False)(feature, image)


def test_an_estimator_without_an_image_returns_the_same_feature() -> None:
    alone, with_image = FourierKernelEstimator(4, image_channels=None), FourierKernelEstimator(4)
    alone.load_state_dict({key: value for key, value in with_image.state_dict().items() if 'tail' not in key})
    feature, image = torch.rand(2, 4, 9, 6), torch.rand(2, 3, 9, 6)
    output, expected = alone(feature), with_image(feature, image)
    assert output.image is None
    torch.testing.assert_close(output.feature, expected.feature, rtol=0, atol=0)
    with pytest.raises(ValueError, match='takes no image'):
        alone(feature, image)
    with pytest.raises(ValueError, match='needs the blurred image'):
        with_image(feature)


def test_the_example_in_the_documentation_runs() -> None:
    assert doctest.testmod(fke).failed == 0
