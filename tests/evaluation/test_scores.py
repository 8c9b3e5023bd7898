"""Metric values of images, their means, and who belongs to which group."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from deeprftv2_arch.evaluation.scores import ImageScore, Scores, better, measure, needs_ground_truth, read_groups
from deeprftv2_arch.metrics.info import MetricWarning, metric_info
from deeprftv2_arch.utils.errors import UserError

SEEN = []


@METRIC_REGISTRY.register()
@metric_info(better='lower', unquantized=True)
def probe_unquantized(img, img2, better='lower'):
    SEEN.append((img, img2))
    warnings.warn('measured in another way', MetricWarning, stacklevel=1)
    return 1


@METRIC_REGISTRY.register()
def probe_of_basicsr(img, img2, **kwargs):
    SEEN.append((img, img2))
    warnings.warn('not ours', RuntimeWarning, stacklevel=1)
    return np.float32(0.1)


def test_metrics_are_handed_what_they_declare():
    SEEN.clear()
    restored = torch.tensor([0.1, 0.5004, 1.5]).reshape(1, 3, 1, 1).repeat(1, 1, 2, 4)
    sharp = torch.full((1, 3, 2, 4), 0.25)
    metrics = {'a': {'type': 'probe_unquantized', 'better': 'lower'}, 'b': {'type': 'probe_of_basicsr', 'x': 1}}
    with pytest.warns(RuntimeWarning, match='not ours'):
        values, remarks = measure(metrics, restored, sharp)
    assert values == {'a': 1.0, 'b': float(np.float32(0.1))}
    assert remarks == ('measured in another way',)
    (fine, fine_sharp), (coarse, coarse_sharp) = SEEN
    assert fine.dtype == fine_sharp.dtype == np.float32
    np.testing.assert_array_equal(fine[0, 0], np.float32([1, 0.5004, 0.1]))  # BGR, clipped, not rounded
    assert coarse.dtype == coarse_sharp.dtype == np.uint8
    np.testing.assert_array_equal(coarse[1, 3], [255, 128, 26])
    np.testing.assert_array_equal(coarse_sharp[1, 3], [64, 64, 64])


def test_better_is_read_from_options_then_metric_then_taken_for_higher():
    assert better({'type': 'probe_unquantized'}) == 'lower'
    assert better({'type': 'probe_unquantized', 'better': 'higher'}) == 'higher'
    assert better({'type': 'probe_of_basicsr'}) == 'higher'


def scores(*values, groups=None):
    images = [
        ImageScore(index, str(index), {'psnr': value}, ('odd',) * (index % 2), f'mode {index // 2}')
        for index, value in enumerate(values)
    ]
    return Scores(images, groups or {})


def test_means_round_once():
    # Summed one after the other, these lose the small number.
    assert scores(1e16, 1.0, -1e16).means() == {'psnr': 1 / 3}
    assert scores(math.inf, 30.0).means() == {'psnr': math.inf}


def test_groups_have_means_of_their_own():
    four = scores(1.0, 2.0, 3.0, 5.0, groups={'ends': frozenset({0, 3})})
    assert four.means('ends') == {'psnr': 3.0}
    assert four.means() == {'psnr': 2.75}
    assert four.remarks == {'odd': 2}
    assert four.modes == 'mode 0; mode 1'


NAMES = ['b/10', 'b/9', 'a/2', 'a/x']


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('b/9\na/x\n', {1, 3}),
        ('9.png\r\n\n  x.tif  \n', {1, 3}),
        ('b/10', {0}),
        ('1\n3\n4\n', {2, 1, 0}),  # 1, 3 and 4 are no names: positions in a/2, a/x, b/9, b/10
    ],
)
def test_group_is_listed_by_names_or_by_positions(tmp_path, text, expected):
    file = tmp_path / 'list.txt'
    file.write_text(text)
    assert read_groups({'some': str(file)}, NAMES, 'groups') == {'some': frozenset(expected)}


def test_group_is_listed_by_a_numpy_file_of_positions(tmp_path):
    np.save(tmp_path / 'indoor_labels.npy', np.array([2, 4]))
    found = read_groups({'indoor': str(tmp_path / 'indoor_labels.npy')}, NAMES, 'groups')
    assert found == {'indoor': frozenset({3, 0})}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', r'groups\.some: .*list\.txt is empty'),
        ('9\nyy\n', r"'yy' is none of the 4 images"),
        ('1\n5\n', r"'1' is none of the 4 images"),
        (None, r'groups\.some: cannot read the list .*No such file'),
    ],
)
def test_wrong_list_is_refused(tmp_path, text, message):
    file = tmp_path / 'list.txt'
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=message):
        read_groups({'some': str(file)}, NAMES, 'groups')
    if text:
        file.write_text('9')
        with pytest.raises(UserError, match='all images are a group already'):
            read_groups({'all': str(file)}, NAMES, 'groups')


@pytest.mark.parametrize(
    ('metric', 'side'),
    [
        ({'type': 'calculate_ssim_aligned'}, 5),
        ({'type': 'calculate_ssim_uniform'}, 6),
        ({'type': 'calculate_lpips'}, 30),
        ({'type': 'calculate_ssim_3d', 'crop_border': 4}, 8),
        ({'type': 'calculate_psnr_float', 'crop_border': 4}, 7),
    ],
    ids=str,
)
def test_images_that_are_too_small_are_a_mistake_of_the_user(metric, side):
    image = torch.rand(1, 3, side, side + 1, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=rf'{metric["type"]} cannot measure {side + 1} x {side} pixels: .*metrics\.m'):
        measure({'m': metric}, image, image.flip(2))


def test_metrics_without_reference_need_no_sharp_image():
    image = torch.rand(1, 3, 200, 220, generator=torch.Generator().manual_seed(0))
    niqe = {'type': 'calculate_niqe', 'crop_border': 0}
    assert not needs_ground_truth(niqe)
    assert needs_ground_truth({'type': 'calculate_psnr'})
    values, _ = measure({'niqe': niqe}, image, None)
    assert values == measure({'niqe': niqe}, image, image)[0]
    assert math.isfinite(values['niqe'])
