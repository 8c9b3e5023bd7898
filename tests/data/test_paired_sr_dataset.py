"""Pairs for super-resolution: sizes, crops and mirrorings against images whose pixels tell where they are."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import torch

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.paired_sr_dataset import PairedSRDataset
from deeprftv2_arch.data.sampling import Sample
from deeprftv2_arch.utils.errors import UserError


def coordinates(height, width, step=1):
    """An image whose blue, green and red are row, column and zero, in pixels of the large image."""
    rows, columns = np.mgrid[0 : height * step : step, 0 : width * step : step]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


@pytest.fixture
def folders(tmp_path):
    """Two pairs at a scale of 3; the large images have up to two rows and columns without partner."""
    for name in ('HR', 'LR'):
        (tmp_path / name).mkdir()
    for stem, (height, width), (rows, columns) in [('a', (20, 24), (0, 0)), ('b', (22, 21), (2, 1))]:
        large = coordinates(height * 3 + rows, width * 3 + columns)
        cv2.imwrite(str(tmp_path / 'HR' / f'{stem}.png'), large)
        cv2.imwrite(str(tmp_path / 'LR' / f'{stem}x3.png'), coordinates(height, width, step=3))
    return tmp_path


def options(folders, **more):
    roots = {'dataroot_gt': str(folders / 'HR'), 'dataroot_lq': str(folders / 'LR')}
    return {'name': 'tiny', 'type': 'PairedSRDataset', 'scale': 3, 'filename_tmpl': '{}x3', **roots, **more}


def test_validation_cuts_what_the_scale_does_not_divide(folders):
    data = PairedSRDataset(options(folders, phase='val'))
    item = data[1]
    assert item['lq'].shape == (3, 22, 21)
    assert item['gt'].shape == (3, 66, 63)
    torch.testing.assert_close(item['gt'][:, ::3, ::3], item['lq'], rtol=0, atol=0)


def test_crops_show_the_same_place_turned_alike(folders):
    data = PairedSRDataset(options(folders, phase='train', gt_size=24))
    seen = set()
    for seed in range(24):
        item = data[Sample(seed % 2, (24, 24), seed)]
        assert item['gt'].shape == (3, 24, 24)
        assert item['lq'].shape == (3, 8, 8)
        # Every small pixel has the coordinates of a corner of its 3x3 large ones; which corner tells the mirroring.
        blocks = (item['gt'] * 255).round().reshape(3, 8, 3, 8, 3).amin(dim=(2, 4))
        torch.testing.assert_close(blocks, (item['lq'] * 255).round(), rtol=0, atol=0)
        red_green_blue = (item['lq'] * 255).round().int()
        steps = red_green_blue[:, 1, 0] - red_green_blue[:, 0, 0], red_green_blue[:, 0, 1] - red_green_blue[:, 0, 0]
        seen.add(tuple(int(value) for step in steps for value in step))
        again = data[Sample(seed % 2, (24, 24), seed)]
        assert torch.equal(item['gt'], again['gt'])
    assert len(seen) == 8


def opaque(gray):
    return np.dstack([gray, gray, gray, np.full_like(gray, 255)])


def test_grayscale_alpha_and_sixteen_bits_become_rgb(folders):
    gray = np.arange(400, dtype=np.uint8).reshape(20, 20)
    (folders / 'HR' / 'b.png').unlink()
    (folders / 'LR' / 'bx3.png').unlink()
    for stem, (small, large) in {
        'gray': (gray, np.kron(gray, np.ones((3, 3), np.uint8))),
        'rgba': (opaque(gray), opaque(np.kron(gray, np.ones((3, 3), np.uint8)))),
        'deep': (gray.astype(np.uint16) * 257, np.kron(gray, np.ones((3, 3), np.uint8)).astype(np.uint16) * 257),
    }.items():
        cv2.imwrite(str(folders / 'HR' / f'{stem}.png'), large)
        cv2.imwrite(str(folders / 'LR' / f'{stem}x3.png'), small)
    data = PairedSRDataset(options(folders, phase='val'))
    expected = torch.from_numpy(gray / np.float32(255)).expand(3, 20, 20)
    for index in (1, 2, 3):  # after 'a': deep, gray, rgba
        torch.testing.assert_close(data[index]['lq'], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ('more', 'says'),
    [
        ({'phase': 'train', 'gt_size': 25}, r'gt_size \[25, 25\] are not multiples of scale: 3'),
        ({'phase': 'val', 'scale': 0}, 'scale: expected a whole number'),
        ({'phase': 'val', 'filename_tmpl': '{}_LR'}, 'without partner.*a.png'),
        ({'phase': 'val', 'pad_to': 64}, 'pad_to: unknown key for PairedSRDataset'),
    ],
)
def test_wrong_options_are_named(folders, more, says):
    with pytest.raises(UserError, match=re.compile(says, re.DOTALL)):
        PairedSRDataset(options(folders, **more))


def test_images_that_do_not_fit_are_named(folders):
    data = PairedSRDataset(options(folders, phase='val', scale=2))
    with pytest.raises(DataError, match=r'scale of 2: .*ax3\.png has 24 x 20 pixels, .*a\.png has 72 x 60'):
        data[0]
    data = PairedSRDataset(options(folders, phase='train', gt_size=66))
    with pytest.raises(DataError, match=r'a\.png: 72 x 60 pixels are smaller than the training crop gt_size: 66'):
        data[0]
