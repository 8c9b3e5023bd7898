"""The similarities against scikit-image and SciPy, on images where they all differ."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from scipy.ndimage import convolve
from skimage.metrics import structural_similarity

from deeprftv2_arch.metrics import ssim_3d, ssim_uniform

GAUSSIAN = {'gaussian_weights': True, 'use_sample_covariance': False, 'data_range': 255}


def measure(name, img, img2, **options):
    return calculate_metric({'img': img, 'img2': img2}, {'type': name, **options})


def test_volume_is_that_of_scikit_image(photographs):
    # Inside a volume with its edges repeated, scikit-image's own treatment of edges is not seen.
    volumes = [np.pad(image.astype(np.float64), 5, mode='edge') for image in photographs]
    similarity = structural_similarity(*volumes, sigma=1.5, full=True, **GAUSSIAN)[1][5:-5, 5:-5, 5:-5]
    assert measure('calculate_ssim_3d', *photographs) == pytest.approx(similarity.mean(), abs=1e-12)


def test_volume_is_that_of_a_plain_convolution(photographs, as_unit):
    x, y = map(as_unit, photographs)
    axis = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.einsum('i,j,k->ijk', axis, axis, axis) / axis.sum() ** 3
    mean_x, mean_y, xx, yy, xy = (convolve(volume, window, mode='nearest') for volume in (x, y, x * x, y * y, x * y))
    c1, c2 = 0.0001, 0.0009
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (xy - mean_x * mean_y) + c2) / (xx - mean_x**2 + yy - mean_y**2 + c2)
    assert ssim_3d(x, y) == pytest.approx(np.mean(luminance * structure), abs=1e-12)


def test_uniform_windows_are_those_of_scikit_image(photographs, as_unit):
    x, y = photographs
    expected = structural_similarity(x, y, channel_axis=2)
    assert measure('calculate_ssim_uniform', x, y) == pytest.approx(expected, abs=1e-12)
    assert ssim_uniform(as_unit(x).astype(np.float32), as_unit(y).astype(np.float32)) == pytest.approx(
        expected, abs=1e-6
    )


def test_basicsr_similarity_is_the_one_per_channel(photographs):
    x, y = photographs
    expected = structural_similarity(x.astype(np.float64), y.astype(np.float64), channel_axis=2, **GAUSSIAN)
    assert measure('calculate_ssim', x, y, crop_border=0) == pytest.approx(expected, abs=1e-9)


def test_basicsr_luma_is_that_of_matlab(photographs):
    lumas = [
        (24.966 * b + 128.553 * g + 65.481 * r) / 255 + 16 for b, g, r in (cv2.split(i / 1.0) for i in photographs)
    ]
    inner = [luma[2:-2, 2:-2] for luma in lumas]
    options = {'crop_border': 2, 'test_y_channel': True}
    expected = structural_similarity(*inner, **GAUSSIAN)
    assert measure('calculate_ssim', *photographs, **options) == pytest.approx(expected, abs=1e-6)
    expected = 20 * np.log10(255) - 10 * np.log10(np.mean((inner[0] - inner[1]) ** 2))
    assert measure('calculate_psnr', *photographs, **options) == pytest.approx(expected, abs=1e-4)


def test_four_similarities_are_four_numbers(photographs):
    figures = [
        measure('calculate_ssim_3d', *photographs),
        measure('calculate_ssim_uniform', *photographs),
        measure('calculate_ssim', *photographs, crop_border=0),
        measure('calculate_ssim', *photographs, crop_border=0, test_y_channel=True),
    ]
    assert np.min(np.abs(np.subtract.outer(figures, figures)) + np.eye(4)) > 0.0005
    assert figures[0] > figures[2]


@pytest.mark.parametrize('function', [ssim_3d, ssim_uniform])
def test_equal_images_are_one_and_order_of_channels_is_nothing(function, photographs, as_unit):
    x, y = map(as_unit, photographs)
    assert function(x, x) == pytest.approx(1, abs=1e-12)
    assert function(x, y) == pytest.approx(function(y, x), abs=1e-12)
    assert function(x[..., ::-1], y[..., ::-1]) == pytest.approx(function(x, y), abs=1e-12)
    with pytest.raises(ValueError, match='same shape'):
        function(x, y[1:])


def test_grey_image_is_a_volume_of_one_channel(photographs):
    x, y = (image[..., 0] for image in photographs)
    expected = structural_similarity(
        *(np.pad(i[..., None].astype(float), 5, mode='edge') for i in (x, y)), full=True, **GAUSSIAN
    )
    assert measure('calculate_ssim_3d', x, y) == pytest.approx(expected[1][5:-5, 5:-5, 5:-5].mean(), abs=1e-12)
