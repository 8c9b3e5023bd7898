"""PSNR and MAE: exact identities, and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY
from skimage.metrics import peak_signal_noise_ratio

from deeprftv2_arch.metrics import mean_absolute_error, psnr


def measure(name, img, img2, **options):
    return calculate_metric({'img': img, 'img2': img2}, {'type': name, **options})


@pytest.mark.parametrize('step', [1, 2, 16])
def test_constant_error_has_a_known_figure(step):
    sharp = np.random.default_rng(0).integers(0, 200, (9, 7, 3), np.uint8)
    expected = 20 * math.log10(255 / step)
    assert measure('calculate_psnr_float', sharp + np.uint8(step), sharp) == pytest.approx(expected, abs=1e-9)
    assert measure('calculate_psnr', sharp + np.uint8(step), sharp, crop_border=0) == pytest.approx(expected, abs=1e-9)
    assert measure('calculate_mae', sharp + np.uint8(step), sharp) == pytest.approx(step / 255, abs=1e-12)
    if step == 1:
        assert round(expected, 4) == 48.1308


def test_basicsr_psnr_is_that_of_rounded_rgb(photographs):
    restored, sharp = photographs
    expected = peak_signal_noise_ratio(sharp, restored, data_range=255)
    assert measure('calculate_psnr', restored, sharp, crop_border=0) == pytest.approx(expected, abs=1e-9)
    assert measure('calculate_psnr_float', restored, sharp) == pytest.approx(expected, abs=1e-9)


def test_floats_are_compared_before_they_are_rounded():
    sharp = np.full((8, 8, 3), 100 / 255, np.float32)
    restored = sharp + np.float32(0.4 / 255)
    assert measure('calculate_psnr_float', restored, sharp) == pytest.approx(20 * math.log10(255 / 0.4), abs=1e-3)
    assert measure('calculate_mae', restored, sharp) == pytest.approx(0.4 / 255, rel=1e-4)


def test_border_is_left_out():
    sharp = np.zeros((8, 9, 3), np.uint8)
    restored = sharp.copy()
    restored[0], restored[:, -1] = 255, 255
    assert measure('calculate_mae', restored, sharp) == pytest.approx(16 / 72)
    assert measure('calculate_mae', restored, sharp, crop_border=1) == 0
    assert measure('calculate_psnr_float', restored, sharp, crop_border=1) == math.inf
    with pytest.raises(ValueError, match='crop_border: 4 leaves nothing of 9 x 8 pixels'):
        measure('calculate_mae', restored, sharp, crop_border=4)


@pytest.mark.parametrize('function', [psnr, mean_absolute_error])
def test_images_of_different_shape_are_refused(function):
    with pytest.raises(ValueError, match='same shape'):
        function(np.zeros((4, 4, 3)), np.zeros((4, 5, 3)))


OURS = [name for name, metric in METRIC_REGISTRY if metric.__module__.startswith('deeprftv2_arch.')]


def test_every_metric_says_which_figure_is_better():
    assert len(OURS) == 7
    better = {name: METRIC_REGISTRY.get(name).better for name in OURS}
    assert {name for name in OURS if better[name] == 'lower'} == {'calculate_mae', 'calculate_lpips'}
    unquantized = {name for name in OURS if METRIC_REGISTRY.get(name).unquantized}
    assert unquantized == {'calculate_psnr_float', 'calculate_mae', 'calculate_ssim_uniform', 'calculate_lpips'}


@pytest.mark.parametrize('name', OURS)
def test_misspelt_option_is_not_swallowed(name, photographs):
    with pytest.raises(TypeError, match='unexpected keyword argument'):
        measure(name, *photographs, crop_boarder=0)
