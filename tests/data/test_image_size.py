"""Sizes from headers, against the pixels; and crops that no image can give, found before the first iteration."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from deeprftv2_arch.data import PairedDeblurDataset
from deeprftv2_arch.data.image_size import size_in_header
from deeprftv2_arch.data.loading import build_training_loader
from deeprftv2_arch.data.synthesized_blur_dataset import SynthesizedBlurDataset
from deeprftv2_arch.utils.errors import UserError


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'bmp', 'tif', 'webp'])
def test_headers_tell_what_is_decoded(tmp_path, suffix):
    file = tmp_path / f'image.{suffix}'
    cv2.imwrite(str(file), np.zeros((30, 50, 3), np.uint8))
    assert size_in_header(file) == (30, 50)


@pytest.mark.parametrize('orientation', [1, 3, 6, 8])
def test_photographs_are_turned_as_the_camera_says(tmp_path, orientation):
    file = tmp_path / 'image.jpg'
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new('RGB', (50, 30)).save(file, exif=exif)
    assert size_in_header(file) == cv2.imread(str(file)).shape[:2]


@pytest.mark.parametrize('content', [b'', b'\x89PNG\r\n\x1a\n', b'no image'])
def test_what_has_no_size(tmp_path, content):
    (tmp_path / 'image.png').write_bytes(content)
    assert size_in_header(tmp_path / 'image.png') is None
    assert size_in_header(tmp_path / 'nowhere.png') is None


def training(*crops, **data) -> dict:
    stages = [{'gt_size': crop, 'total_batch': 1, 'iterations': 3} for crop in crops]
    section = {'name': 'x', 'type': 'PairedDeblurDataset', 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0, **data}
    return {
        'manual_seed': 0,
        'rank': 0,
        'world_size': 1,
        'dist': False,
        'num_gpu': 0,
        'train': {'total_iter': 3 * max(len(stages), 1), **({'stages': stages} if stages else {})},
        'datasets': {'train': section},
    }


def load(folders, *crops, done=0, **data):
    section = {'dataroot_gt': str(folders.gt), 'dataroot_lq': str(folders.lq), 'augmentation': 4, **data}
    options = training(*crops, **section)
    dataset = PairedDeblurDataset({**options['datasets']['train'], 'phase': 'train'})
    build_training_loader(dataset, options, done)


def test_crops_of_later_stages_are_looked_at_first(write_pairs):
    folders = write_pairs()
    load(folders, 16, 40)
    load(folders, 16, [40, 48])
    for crop in (41, [41, 16], [16, 49]):
        with pytest.raises(UserError, match=r'sharp/000\.png: 48 x 40 pixels are smaller than the training crop'):
            load(folders, 16, crop)
        load(folders, 16, crop, pad_to=[41, 49])
    load(folders, 41, 16, done=3)  # the stage is over
    with pytest.raises(UserError, match='gt_size: 41'):
        load(folders, gt_size=41)


def test_one_image_is_enough(write_pairs):
    folders = write_pairs()
    for folder in folders:
        cv2.imwrite(str(folder / '002.png'), np.zeros((20, 48, 3), np.uint8))
    load(folders, 16, 20)
    with pytest.raises(UserError, match=r'sharp/002\.png: 48 x 20 pixels are smaller .* gt_size: 32'):
        load(folders, 16, 32)


def test_an_lmdb_tells_by_its_list(write_pairs, as_lmdb):
    folders = write_pairs()
    data = {'dataroot_lq': str(as_lmdb(folders.lq)), 'dataroot_gt': str(as_lmdb(folders.gt))}
    load(folders, 16, 40, **data, io_backend={'type': 'lmdb'})
    with pytest.raises(UserError, match=r"sharp\.lmdb, key '000': 48 x 40 pixels are smaller"):
        load(folders, 16, 41, **data, io_backend={'type': 'lmdb'})


def test_photographs_for_synthesized_blur(write_pairs):
    folders = write_pairs(count=1, height=80, width=120)
    data = {'type': 'SynthesizedBlurDataset', 'dataroot_gt': str(folders.gt), 'name': 'x'}
    dataset = SynthesizedBlurDataset({**data, 'phase': 'train'})
    fits = 80 - 2 * dataset.options.margin
    build_training_loader(dataset, training(8, fits, **data))
    with pytest.raises(UserError, match=r'000\.png: 120 x 80 pixels are too few'):
        build_training_loader(dataset, training(8, fits + 1, **data))
    reduced = SynthesizedBlurDataset({**data, 'phase': 'train', 'long_side': 60})
    with pytest.raises(UserError, match=r'000\.png: 60 x 40 pixels are too few'):
        build_training_loader(reduced, training(8, 40, **data))
