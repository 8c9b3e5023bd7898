"""The parts of FDIKP: each does what its name says, compared with what is known exactly."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.analysis.synthetic_defocus import (
    blur_kernel,
    inversion_error,
    sharp_textures,
    transfer,
    wiener_gain,
)
from deeprftv2_arch.nn import fdikp
from deeprftv2_arch.nn.fdikp import (
    DualBranchInverseKernels,
    DualDomainScaleRecurrence,
    PositionAdaptiveConvolution,
)
from deeprftv2_arch.nn.fdikp.assumptions import ASSUMPTIONS
from deeprftv2_arch.nn.fdikp.borders import mirrored
from deeprftv2_arch.nn.fdikp.inverse_kernels import FrequencyBranch
from deeprftv2_arch.nn.fdikp.kernel_stack import apply_kernels, effective_kernels
from deeprftv2_arch.nn.fdikp.spectrum import continue_half_spectrum, kernel_of_gain, log_periodogram

BRANCHES = ['both', 'spatial', 'frequency']


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def disturbed(module: nn.Module, amount: float = 0.1) -> nn.Module:
    """Random weights everywhere, also where a module starts at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return module


def test_the_examples_of_the_docstrings_run() -> None:
    names = [name for _, name, _ in pkgutil.iter_modules(fdikp.__path__)]
    results = {name: doctest.testmod(importlib.import_module(f'{fdikp.__name__}.{name}')) for name in names}
    assert {name for name, result in results.items() if result.failed} == set()
    documented = {name for name, result in results.items() if result.attempted}
    assert {'inverse_kernels', 'position_adaptive', 'recurrence'} <= documented


def test_assumptions_are_numbered_without_gaps() -> None:
    assert [assumption.number for assumption in ASSUMPTIONS] == [f'A{i + 1}' for i in range(len(ASSUMPTIONS))]


class TestBorders:
    def test_equals_torchs_reflection_where_torch_can(self) -> None:
        x = torch.rand(2, 3, 7, 9)
        assert torch.equal(mirrored(x, 2, 6, 3, 8), F.pad(x, (3, 8, 2, 6), mode='reflect'))

    def test_margins_wider_than_the_map_are_mirrored_again(self) -> None:
        x = torch.arange(3.0).view(1, 1, 1, 3)
        assert mirrored(x, 1, 1, 5, 4)[0, 0, 2].tolist() == [1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
        assert torch.equal(mirrored(torch.ones(1, 1, 1, 1), 3, 3, 3, 3), torch.ones(1, 1, 7, 7))


class TestSpectrum:
    @pytest.mark.parametrize(
        ('shape', 'strength'), [('gaussian', 0.7), ('gaussian', 1.2), ('gaussian', 2.0), ('disk', 1.5), ('disk', 3.0)]
    )
    def test_blurring_noise_adds_the_log_power_of_the_kernel(self, shape: str, strength: float) -> None:
        noise = torch.randn(1, 1, 256, 256, dtype=torch.float64)
        kernel = blur_kernel(shape, strength)
        blurred = apply_kernels(noise, kernel[None, None])[:, 0]
        added = (log_periodogram(blurred, 64) - log_periodogram(noise, 64))[0, 0]
        expected = transfer(kernel).abs().square().log()
        # Below that the windows smear in what comes from other frequencies.
        strong = expected > -7
        assert strong.sum() > 100
        together = torch.stack([added[strong], expected[strong]])
        assert torch.corrcoef(together)[0, 1] > 0.99
        assert (added - expected)[strong].square().mean().sqrt() < 0.15

    def test_equals_a_sum_over_tiles_written_out(self) -> None:
        x = torch.randn(1, 1, 24, 16, dtype=torch.float64)
        window = torch.hann_window(16, dtype=torch.float64)
        window = window[:, None] * window
        powers = [torch.fft.fft2(x[0, 0, start : start + 16] * window).abs().square() for start in (0, 8)]
        expected = (sum(powers) / 2 / window.square().sum())[:, :9]
        torch.testing.assert_close(log_periodogram(x, 16)[0, 0].exp() - 1e-7, expected, atol=1e-12, rtol=1e-9)

    def test_hardly_depends_on_where_things_lie_or_on_the_size(self) -> None:
        image = sharp_textures(1, 192, torch.Generator().manual_seed(3))
        whole = log_periodogram(image, 32)

        def distance(other: Tensor) -> float:
            return (log_periodogram(other, 32) - whole).square().mean().sqrt().item()

        assert distance(image.roll((40, 60), dims=(-2, -1))) < 0.25
        crops = [distance(image[..., :128, :128]), distance(image[..., 64:, 64:])]
        tiles = [distance(image[..., :32, :32]), distance(image[..., 100:132, 80:112])]
        assert max(crops) < 0.5 * min(tiles)

    @pytest.mark.parametrize('size', [(1, 1), (5, 40), (33, 17)])
    def test_takes_maps_of_any_size(self, size: tuple[int, int]) -> None:
        spectrum = log_periodogram(torch.rand(2, 3, *size), 16)
        assert spectrum.shape == (2, 3, 16, 9)
        assert spectrum.isfinite().all()

    def test_the_half_spectrum_is_continued_as_the_whole_one(self) -> None:
        power = torch.fft.fft2(torch.randn(1, 2, 8, 8, dtype=torch.float64)).abs().square()
        whole = F.pad(power, (1, 1, 1, 1), mode='circular')
        torch.testing.assert_close(continue_half_spectrum(power[..., :5]), whole[..., :7])

    def test_a_gain_of_one_is_the_unit_pulse_and_any_gain_makes_a_symmetric_kernel(self) -> None:
        pulse = kernel_of_gain(torch.ones(16, 9, dtype=torch.float64), 5)
        expected = torch.zeros(5, 5, dtype=torch.float64)
        expected[2, 2] = 1
        torch.testing.assert_close(pulse, expected)
        kernel = kernel_of_gain(torch.rand(16, 9, dtype=torch.float64), 7)
        torch.testing.assert_close(kernel, kernel.flip(-2, -1))
        assert not torch.allclose(kernel, kernel.flip(-1))

    @pytest.mark.parametrize('sigma', [0.5, 0.7, 1.0])
    def test_the_exact_gain_gives_the_wiener_filter(self, sigma: float) -> None:
        blur = blur_kernel('gaussian', sigma, 31)
        gain = wiener_gain(transfer(blur)).real
        uncut = kernel_of_gain(gain, 63)
        assert inversion_error(uncut, blur) < 1e-6

    @pytest.mark.parametrize(
        ('shape', 'strength', 'costs'),
        [
            ('gaussian', 1.0, {15: 0.012, 21: 0.003, 31: 0.001}),
            ('gaussian', 1.5, {15: 0.089, 21: 0.018, 31: 0.002}),
            ('gaussian', 2.0, {15: 0.219, 21: 0.080, 31: 0.012}),
            ('disk', 1.5, {15: 0.143, 21: 0.109, 31: 0.018}),
            ('disk', 3.0, {15: 0.442, 21: 0.248, 31: 0.109}),
        ],
    )
    def test_cutting_the_wiener_filter_costs_what_the_documentation_says(
        self, shape: str, strength: float, costs: dict[int, float]
    ) -> None:
        blur = blur_kernel(shape, strength, 31)
        gain = wiener_gain(transfer(blur)).real
        for size, cost in costs.items():
            kernel = kernel_of_gain(gain, size)
            kernel = kernel - (kernel.sum() - 1) / size**2
            assert inversion_error(kernel, blur).item() == pytest.approx(cost, abs=6e-4)


class TestInverseKernels:
    @pytest.mark.parametrize('branches', BRANCHES)
    def test_start_as_unit_pulses(self, branches: str) -> None:
        kernels = DualBranchInverseKernels(8, branches=branches)(torch.randn(2, 8, 40, 50))
        assert kernels.shape == (2, 8, 15, 15)
        pulse = torch.zeros(15, 15)
        pulse[7, 7] = 1
        assert torch.equal(kernels, pulse.expand_as(kernels))

    @pytest.mark.parametrize('branches', BRANCHES)
    @pytest.mark.parametrize('signed', [False, True])
    def test_sum_to_one_whatever_the_weights(self, branches: str, signed: bool) -> None:
        predict = disturbed(DualBranchInverseKernels(8, branches=branches, signed_gain=signed))
        kernels = predict(torch.randn(2, 8, 40, 50))
        assert kernels.min() < -1e-3
        assert (kernels.sum((-2, -1)) - 1).abs().max() < 1e-5
        image = torch.full((2, 3, 20, 30), 0.7)
        assert (apply_kernels(image, kernels) - 0.7).abs().max() < 1e-5

    def test_gains_are_bounded_unless_signed(self) -> None:
        feature = torch.randn(1, 8, 40, 50)
        bounded = disturbed(FrequencyBranch(8, 4, 5, tile=16), 1.0).gains(feature)
        assert bounded.min() >= 0.1 - 1e-5
        assert bounded.max() <= 10 + 1e-4
        signed = disturbed(FrequencyBranch(8, 4, 5, tile=16, signed=True), 1.0).gains(feature)
        assert signed.min() < 0
        assert torch.equal(bounded[..., 0, 0], torch.ones(1, 4))
        assert torch.equal(signed[..., 0, 0], torch.ones(1, 4))

    def test_the_frequency_branch_does_not_see_where_things_lie_the_spatial_one_is_not_symmetric(self) -> None:
        frequency = disturbed(DualBranchInverseKernels(4, spectrum_tile=16, kernel_size=7, branches='frequency'))
        # Periodic, and cut at two places that are half a tile apart: every tile of one cut is a tile of the other.
        periodic = torch.randn(1, 4, 16, 16).repeat(1, 1, 6, 6)
        feature = periodic[..., :72, :72]
        kernels = frequency(feature)
        torch.testing.assert_close(frequency(periodic[..., 8:80, 8:80]), kernels, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(kernels, kernels.flip(-2, -1), atol=1e-5, rtol=1e-4)
        spatial = disturbed(DualBranchInverseKernels(4, spectrum_tile=16, kernel_size=7, branches='spatial'))
        kernels = spatial(feature)
        assert not torch.allclose(kernels, kernels.flip(-2, -1), atol=1e-3)

    def test_images_of_a_batch_have_kernels_of_their_own(self) -> None:
        predict = disturbed(DualBranchInverseKernels(4, num_kernels=2, kernel_size=5, spectrum_tile=16)).double()
        feature = torch.randn(3, 4, 30, 21, dtype=torch.float64)
        together = predict(feature)
        apart = torch.cat([predict(one[None]) for one in feature])
        torch.testing.assert_close(together, apart, atol=1e-12, rtol=1e-9)

    @pytest.mark.parametrize(
        ('options', 'named'),
        [
            ({'num_kernels': 0}, 'num_kernels'),
            ({'kernel_size': 4}, 'kernel_size'),
            ({'kernel_size': 1}, 'kernel_size'),
            ({'spectrum_tile': 15}, 'spectrum_tile'),
            ({'spectrum_tile': 14}, 'spectrum_tile'),
            ({'branches': 'none'}, 'branches'),
        ],
    )
    def test_wrong_arguments_are_named(self, options: dict, named: str) -> None:
        with pytest.raises(ValueError, match=f'^{named} '):
            DualBranchInverseKernels(4, **options)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        predict = disturbed(DualBranchInverseKernels(2, num_kernels=1, kernel_size=3, spectrum_tile=4)).double()
        feature = torch.randn(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(predict, feature, fast_mode=True)


class TestPositionAdaptiveConvolution:
    def test_one_kernel_is_a_convolution_of_torch(self) -> None:
        image, kernels = torch.rand(1, 3, 20, 24), torch.randn(1, 1, 7, 7)
        expected = F.conv2d(F.pad(image, (3, 3, 3, 3), mode='reflect').transpose(0, 1), kernels[0, :, None])
        torch.testing.assert_close(apply_kernels(image, kernels)[:, 0], expected.transpose(0, 1))

    @pytest.mark.parametrize('dilation', [1, 3])
    @pytest.mark.parametrize('size', [(40, 33), (4, 5)])
    def test_the_transform_gives_the_sum_over_taps(self, dilation: int, size: tuple[int, int]) -> None:
        image = torch.rand(2, 3, *size, dtype=torch.float64)
        kernels = torch.randn(2, 4, 5, 5, dtype=torch.float64)
        direct, transformed = (apply_kernels(image, kernels, dilation, fourier=way) for way in (False, True))
        torch.testing.assert_close(direct, transformed, atol=1e-12, rtol=1e-10)

    def test_equals_an_explicit_field_of_kernels(self) -> None:
        convolve = disturbed(PositionAdaptiveConvolution(4, 3), 1.0).double()
        image = torch.rand(2, 3, 11, 9, dtype=torch.float64)
        kernels = torch.randn(2, 3, 5, 5, dtype=torch.float64)
        output = convolve(image, kernels, torch.randn(2, 4, 11, 9, dtype=torch.float64))
        rows, columns = torch.cartesian_prod(torch.arange(11), torch.arange(9)).unbind(1)
        field = effective_kernels(output.scores, kernels, rows, columns).flatten(2)  # n p kk
        patches = F.unfold(F.pad(image, (2, 2, 2, 2), mode='reflect'), 5).unflatten(1, (3, 25))
        expected = torch.einsum('npt,nctp->ncp', field, patches).unflatten(2, (11, 9))
        torch.testing.assert_close(output.image, expected, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(output.stack.sum(1), expected, atol=1e-12, rtol=1e-12)
        assert output.scores.std() > 0.1

    def test_scores_choose_between_kernels(self) -> None:
        convolve = PositionAdaptiveConvolution(2, 2)
        with torch.no_grad():
            for layer in (convolve.score[0], convolve.score[2]):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
            nn.init.dirac_(convolve.score[0].weight)
            convolve.score[2].weight[1, 0] = 500
            convolve.score[2].bias[2] = 100
        feature = torch.zeros(1, 2, 16, 20)
        feature[:, 0, :, :10] = 1
        kernels, image = torch.randn(1, 2, 3, 3), torch.rand(1, 3, 16, 20)
        output, results = convolve(image, kernels, feature).image, apply_kernels(image, kernels)
        torch.testing.assert_close(output[..., :10], results[:, 0, ..., :10])
        torch.testing.assert_close(output[..., 10:], results[:, 1, ..., 10:])

    def test_is_linear_in_the_image_and_moves_with_it(self) -> None:
        convolve = disturbed(PositionAdaptiveConvolution(4, 3)).double()
        image, other = torch.rand(2, 1, 3, 24, 24, dtype=torch.float64)
        kernels, feature = torch.randn(1, 3, 5, 5).double(), torch.randn(1, 4, 24, 24).double()

        def run(x: Tensor, f: Tensor = feature) -> Tensor:
            return convolve(x, kernels, f).image

        torch.testing.assert_close(run(2 * image - other), 2 * run(image) - run(other))
        moved = run(image.roll(3, -1), feature.roll(3, -1))
        torch.testing.assert_close(moved[..., 4:-4, 8:-4], run(image).roll(3, -1)[..., 4:-4, 8:-4])

    def test_unit_pulses_return_the_image_bit_for_bit(self) -> None:
        image = torch.rand(1, 3, 16, 20)
        kernels = torch.zeros(1, 2, 5, 5)
        kernels[..., 2, 2] = 1
        convolve = PositionAdaptiveConvolution(4, 2, dilations=[1, 2])
        output = convolve(image, kernels, torch.randn(1, 4, 16, 20))
        assert torch.equal(output.image, image)
        assert output.stack.shape == (1, 5, 3, 16, 20)
        torch.testing.assert_close(output.stack.sum(1), image, atol=1e-6, rtol=0)

    def test_wrong_arguments_are_named(self) -> None:
        with pytest.raises(ValueError, match='num_kernels'):
            PositionAdaptiveConvolution(4, 0)
        with pytest.raises(ValueError, match='dilations'):
            PositionAdaptiveConvolution(4, 1, [])
        with pytest.raises(ValueError, match='odd k'):
            apply_kernels(torch.rand(1, 3, 8, 8), torch.rand(1, 2, 4, 4))
        with pytest.raises(ValueError, match='for images'):
            apply_kernels(torch.rand(2, 3, 8, 8), torch.rand(1, 2, 3, 3))


def recurrence(**options: object) -> DualDomainScaleRecurrence:
    return disturbed(DualDomainScaleRecurrence(4, stack_size=2, state_channels=3, **options))


def inputs(height: int, width: int) -> tuple[Tensor, ...]:
    """Feature, image and the two stacks."""
    return (
        torch.randn(1, 4, height, width),
        torch.rand(1, 3, height, width),
        *torch.rand(2, 1, 2, 3, height, width),
    )


class TestScaleRecurrence:
    def test_starts_by_returning_the_image(self) -> None:
        fuse = DualDomainScaleRecurrence(4, stack_size=2, state_channels=3)
        feature, image, *stacks = inputs(9, 14)
        restored, state = fuse(feature, image, *stacks)
        assert torch.equal(restored, image)
        assert state.hidden.shape == state.cell.shape == (1, 3, 5, 7)

    def test_the_coarser_state_changes_the_finer_result(self) -> None:
        fuse = recurrence()
        _, state = fuse(*inputs(8, 8))
        state = type(state)(*(part.detach().requires_grad_() for part in state))
        fine = inputs(16, 16)
        fuse(*fine, state)[0].sum().backward()
        assert all(part.grad.abs().max() > 0 for part in state)
        assert not torch.equal(fuse(*fine, state)[0], fuse(*fine)[0])

    @pytest.mark.parametrize(('domains', 'reaches'), [('both', True), ('frequency', True), ('spatial', False)])
    def test_the_spectrum_lets_every_pixel_reach_every_other(self, domains: str, reaches: bool) -> None:
        fuse = recurrence(domains=domains)
        feature, *others = inputs(32, 32)
        feature.requires_grad_()
        fuse(feature, *others)[0][0, :, 0, 0].sum().backward()
        assert bool(feature.grad[0, :, 31, 31].abs().max() > 0) is reaches

    def test_a_window_bounds_that_reach(self) -> None:
        fuse = recurrence(spectral_window=8)
        feature, *others = inputs(32, 32)
        feature.requires_grad_()
        fuse(feature, *others)[0][0, :, 0, 0].sum().backward()
        assert feature.grad[0, :, 10, 10].abs().max() > 0
        assert feature.grad[0, :, 31, 31].abs().max() == 0

    def test_wrong_arguments_are_named(self) -> None:
        with pytest.raises(ValueError, match='domains'):
            recurrence(domains='time')
