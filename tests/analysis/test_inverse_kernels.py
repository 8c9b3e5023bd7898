"""Inverse kernels that are learned without being shown: probes against the known blur, and the command around them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from deeprftv2_arch.analysis.inverse_kernels import (
    InverseKernelProbe,
    Setting,
    accuracy,
    kernels_at,
    train_probe,
    training_batches,
    two_halves,
)
from deeprftv2_arch.analysis.synthetic_defocus import (
    blur_kernel,
    disk_kernel,
    gaussian_kernel,
    inversion_error,
    sharp_textures,
    transfer,
    wiener_gain,
)
from deeprftv2_arch.cli.analyze_inverse_kernels import STRENGTHS, main
from deeprftv2_arch.nn.fdikp.inverse_kernels import BRANCHES
from deeprftv2_arch.nn.fdikp.spectrum import kernel_of_gain
from deeprftv2_arch.utils.console import exit_code

SETTING = Setting(strongest=1.5, steps=250)


@pytest.mark.parametrize('strength', [0.0, 0.8, 2.0])
def test_a_gaussian_has_the_variance_of_its_name(strength: float) -> None:
    axis = torch.arange(-10, 11, dtype=torch.float64)
    kernel = gaussian_kernel(strength, 21)
    assert kernel.sum().item() == pytest.approx(1)
    assert (kernel.sum(0) * axis**2).sum().item() == pytest.approx(strength**2, abs=1e-3)


@pytest.mark.parametrize('radius', [0.8, 2.0, 3.5])
def test_a_disk_is_even_inside_its_circle_and_zero_outside(radius: float) -> None:
    axis = torch.arange(-10, 11, dtype=torch.float64)
    distance = (axis[:, None] ** 2 + axis**2).sqrt()
    kernel = disk_kernel(radius, 21)
    assert kernel.sum().item() == pytest.approx(1)
    half_diagonal = 0.5**0.5
    inside = kernel[distance < radius - half_diagonal]
    assert inside.tolist() == pytest.approx([1 / (math.pi * radius**2)] * len(inside), rel=0.02)
    assert len(inside) > 0
    assert kernel[distance > radius + half_diagonal].max() == 0
    assert disk_kernel(0, 21)[10, 10] == 1


def test_the_error_is_one_for_no_filter_and_zero_for_the_wiener_filter() -> None:
    blur = blur_kernel('gaussian', 0.9)
    assert inversion_error(blur_kernel('gaussian', 0.0), blur).item() == pytest.approx(1)
    wiener = kernel_of_gain(wiener_gain(transfer(blur)).real, 63)
    assert inversion_error(wiener, blur).item() == pytest.approx(0, abs=1e-6)


def test_training_data_are_a_function_of_the_seed() -> None:
    setting = SETTING._replace(textures=2, side=64)
    first, again, other = (next(training_batches(setting, seed)) for seed in (3, 3, 4))
    assert torch.equal(first.blurred, again.blurred)
    assert not torch.equal(first.blurred, other.blurred)
    assert first.sharp.min() >= 0
    assert first.sharp.max() <= 1


def test_the_command_writes_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip('matplotlib', reason='the extra [plots] is not installed')
    out = tmp_path / 'made' / 'here'
    assert main(['--steps', '2', '--seeds', '2', '--images', '1', '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / 'results.md').read_text() == printed
    assert printed.count('| both |') == printed.count('| frequency |') == len(STRENGTHS)
    with (out / 'results.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(BRANCHES) * len(STRENGTHS)
    # After two steps a kernel is nearly a unit pulse, which is no filter at all.
    assert all(0.5 < float(row['error']) < 1.5 for row in rows)
    assert (out / 'kernels.png').read_bytes().startswith(b'\x89PNG')


def test_wrong_numbers_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(lambda: main(['--steps', '0'])) == 2
    assert '--steps' in capsys.readouterr().err


@pytest.fixture(scope='module')
def trained() -> InverseKernelProbe:
    torch.manual_seed(0)
    return train_probe(InverseKernelProbe(), SETTING, seed=0)


@pytest.fixture(scope='module')
def unseen() -> torch.Tensor:
    return sharp_textures(4, 96, torch.Generator().manual_seed(77))


@pytest.mark.slow
@pytest.mark.xdist_group('learned inverse kernels')  # one worker trains for all of them
class TestLearned:
    """With the loss on images alone. Thresholds lie well inside of what was measured, which the comments give."""

    @pytest.mark.parametrize(('strength', 'largest_error', 'least_gain'), [(0.7, 0.9, 0.5), (1.1, 0.9, 0.3)])
    def test_kernels_undo_blurs_they_were_never_shown(
        self, trained, unseen, strength: float, largest_error: float, least_gain: float
    ) -> None:
        measured = accuracy(trained, unseen, strength, strength, SETTING)
        assert measured.error < largest_error
        assert measured.gain > least_gain

    def test_the_stronger_blur_gets_the_stronger_kernel(self, trained, unseen) -> None:
        blurred = two_halves(unseen, 0.5, 1.4, SETTING, seed=5).blurred
        weak, strong = (kernels_at(trained, blurred, columns).mean((0, 1)) for columns in ((16, 32), (64, 80)))
        assert strong[7, 7] > weak[7, 7]

    def test_scores_per_pixel_are_better_than_the_same_everywhere(self, trained, unseen) -> None:
        sample = two_halves(unseen, 0.5, 1.4, SETTING, seed=5)
        with torch.no_grad():
            restored, kernels = trained(sample.blurred)
        stack = trained.convolve.convolve(sample.blurred, kernels)
        averaged = (restored.scores.mean((-2, -1), keepdim=True).unsqueeze(2) * stack).sum(1)
        inner = (..., slice(16, -16), slice(16, -16))

        def error(image: torch.Tensor) -> float:
            return (image[inner] - sample.sharp[inner]).square().mean().item()

        assert error(restored.image) < error(averaged) < error(sample.blurred)
