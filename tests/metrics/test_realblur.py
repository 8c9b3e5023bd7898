"""RealBlur's alignment finds what was moved; its figures are plain ones where nothing was."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deeprftv2_arch.metrics import align, aligned_psnr, aligned_ssim, psnr
from deeprftv2_arch.metrics.info import MetricWarning


@pytest.fixture
def scene() -> np.ndarray:
    """A smooth random picture, float32 (120, 160, 3) in [0.1, 0.9]."""
    coarse = np.random.default_rng(0).random((16, 20, 3), np.float32)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC).clip(0, 1) * 0.8 + 0.1


def moved(scene: np.ndarray) -> np.ndarray:
    homography = np.array([[1.003, 0.002, 1.7], [-0.002, 0.998, -1.1], [1e-6, -2e-6, 1]])
    return cv2.warpPerspective(
        scene, homography, scene.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )


def test_a_moved_and_darker_image_is_brought_back(scene):
    restored = 0.8 * moved(scene)
    pair = align(restored, scene)
    assert pair.converged
    assert psnr(restored, scene) < 20
    assert aligned_psnr(pair) > 38
    assert aligned_ssim(pair) > 0.99
    assert 0.9 < pair.mask.mean() < 1


def test_equal_images_align_to_themselves(scene):
    pair = align(scene, scene)
    assert aligned_psnr(pair) > 80
    assert aligned_ssim(pair) == pytest.approx(1, abs=1e-6)


def test_outside_of_the_mask_nothing_counts(scene):
    pair = align(moved(scene), scene)
    assert not pair.restored[pair.mask == 0].any()
    assert not pair.sharp[pair.mask == 0].any()
    inside = pair.mask > 0
    expected = peak_signal_noise_ratio(pair.sharp[inside], pair.restored[inside], data_range=1)
    assert aligned_psnr(pair) == pytest.approx(expected, abs=1e-4)


def without_alignment(image, sharp):
    """Two images that no iteration can bring together."""
    return np.full_like(image, 0.5), sharp


def test_where_there_is_no_alignment_the_images_are_compared_as_they_are(scene):
    flat, sharp = without_alignment(scene, scene)
    pair = align(flat, sharp)
    assert not pair.converged
    scaled = flat * (flat * sharp).sum(dtype=np.float64) / (flat * flat).sum(dtype=np.float64)
    assert aligned_psnr(pair) == pytest.approx(psnr(scaled, sharp), abs=1e-4)
    options = {'gaussian_weights': True, 'use_sample_covariance': False, 'data_range': 1, 'channel_axis': 2}
    # scikit-image leaves out the same 5 pixels at every edge.
    assert aligned_ssim(pair) == pytest.approx(structural_similarity(sharp, scaled, **options), abs=1e-5)


def test_black_result_is_scored(scene):
    pair = align(np.zeros_like(scene), scene)
    assert aligned_psnr(pair) == pytest.approx(-10 * np.log10(np.mean(np.square(scene, dtype=np.float64))), abs=1e-3)


@pytest.mark.parametrize('name', ['calculate_psnr_aligned', 'calculate_ssim_aligned'])
def test_both_metrics_say_that_an_image_was_not_aligned(name, scene):
    good, flat = (np.uint8(np.round(image * 255)) for image in (moved(scene), np.full_like(scene, 0.5)))
    sharp = np.uint8(np.round(scene * 255))
    for _ in range(2):
        with pytest.warns(MetricWarning, match='ECC found no alignment'):
            calculate_metric({'img': flat, 'img2': sharp}, {'type': name})
    rgb = [image[..., ::-1] / 255.0 for image in (good, sharp)]
    function = aligned_psnr if 'psnr' in name else aligned_ssim
    assert calculate_metric({'img': good, 'img2': sharp}, {'type': name}) == function(align(*rgb))


def test_only_colour_images_of_one_shape_are_aligned(scene):
    with pytest.raises(ValueError, match='same shape'):
        align(scene, scene[1:])
    with pytest.raises(ValueError, match=r'expected an image \(H, W, 3\)'):
        align(scene[..., 0], scene[..., 0])
