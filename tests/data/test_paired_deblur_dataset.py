"""PairedDeblurDataset against the toolbox's own data set, and its errors as a training would meet them."""

from __future__ import annotations

import traceback
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from basicsr.data.paired_image_dataset import PairedImageDataset

from deeprftv2_arch.data import PairedDeblurDataset
from deeprftv2_arch.data.augmentation import random_symmetry
from deeprftv2_arch.errors import UserError


def options(folders, phase: str = 'train', **others) -> dict:
    common = {
        'name': 'Test',
        'type': 'PairedDeblurDataset',
        'phase': phase,
        'dataroot_gt': str(folders.gt),
        'dataroot_lq': str(folders.lq),
        'io_backend': {'type': 'disk'},
    }
    training = {'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0}
    return {**common, **(training if phase == 'train' else {}), **others}


def as_databases(folders, as_lmdb):
    return folders._replace(lq=as_lmdb(folders.lq), gt=as_lmdb(folders.gt))


def test_validation_equals_the_toolbox(write_pairs):
    opt = options(write_pairs(count=3), 'val')
    ours = build_dataset(opt)
    theirs = PairedImageDataset({**opt, 'scale': 1})
    assert len(ours) == len(theirs) == 3
    expected = {Path(item['gt_path']).name: item for item in theirs}
    for item in ours:
        other = expected[Path(item['gt_path']).name]
        assert item.keys() == other.keys()
        assert item['lq_path'] == other['lq_path']
        for key in ('lq', 'gt'):
            assert item[key].dtype == torch.float32
            assert torch.equal(item[key], other[key])


def test_lmdb_gives_the_images_of_the_folder(write_pairs, as_lmdb):
    folders = write_pairs()
    from_disk = PairedDeblurDataset(options(folders, 'val'))
    databases = as_databases(folders, as_lmdb)
    from_lmdb = PairedDeblurDataset(options(databases, 'val', io_backend={'type': 'lmdb'}))
    for one, other in zip(from_disk, from_lmdb, strict=True):
        assert torch.equal(one['lq'], other['lq'])
        assert torch.equal(one['gt'], other['gt'])
        assert other['lq_path'] == Path(one['lq_path']).stem


def test_sixteen_bit_images_are_divided_by_their_own_white(write_pairs):
    folders = write_pairs(count=1)
    deep = np.full((40, 48, 3), 65535, np.uint16)
    deep[0, 0] = 32768
    for folder in folders:
        cv2.imwrite(str(folder / '000.png'), deep)
    gt = PairedDeblurDataset(options(folders, 'val'))[0]['gt']
    assert gt.max() == 1
    assert gt.min() == np.float32(32768) / np.float32(65535)


def test_every_crop_inside_the_image_is_drawn_alike_for_the_pair(write_pairs):
    folders = write_pairs(count=1)
    for file in folders.lq.iterdir():
        (folders.gt / file.name).write_bytes(file.read_bytes())
    dataset = PairedDeblurDataset(options(folders, gt_size=38, use_hflip=False, use_rot=False))
    image = PairedDeblurDataset(options(folders, 'val'))[0]['lq']
    places = image.unfold(1, 38, 1).unfold(2, 38, 1).flatten(1, 2).unbind(1)
    assert len(places) == 3 * 11
    torch.manual_seed(0)
    seen = set()
    for _ in range(1000):
        item = dataset[0]
        assert torch.equal(item['lq'], item['gt'])
        seen.add(item['lq'].numpy().tobytes())
    assert seen == {place.contiguous().numpy().tobytes() for place in places}


@pytest.mark.parametrize(
    ('flip', 'rotate', 'modes'), [(True, True, 8), (False, True, 4), (True, False, 2), (False, False, 1)]
)
def test_symmetries_are_equally_likely_and_agree_in_the_pair(flip, rotate, modes):
    torch.manual_seed(0)
    image = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
    symmetries = {np.rot90(view, turns).tobytes() for view in (image, image[::-1]) for turns in range(4)}
    counts: dict[bytes, int] = {}
    for _ in range(800):
        one, other = random_symmetry([image, image.copy()], flip=flip, rotate=rotate)
        np.testing.assert_array_equal(one, other)
        counts[one.tobytes()] = counts.get(one.tobytes(), 0) + 1
    assert counts.keys() <= symmetries
    assert len(counts) == modes
    # Five standard deviations of a binomial count around its mean.
    mean = 800 / modes
    assert all(abs(count - mean) <= 5 * (mean * (1 - 1 / modes)) ** 0.5 for count in counts.values())


def epoch(folders, seed: int, workers: int, **others) -> torch.Tensor:
    torch.manual_seed(seed)
    opt = options(folders, num_worker_per_gpu=workers, batch_size_per_gpu=1, **others)
    loader = build_dataloader(
        build_dataset(opt), opt, num_gpu=0, sampler=torch.utils.data.SequentialSampler(range(4)), seed=0
    )
    return torch.cat([batch['lq'] for batch in loader])


def test_workers_draw_differently_and_a_seed_reproduces(write_pairs):
    folders = write_pairs(count=4)
    for folder in folders:
        for index in range(1, 4):
            (folder / f'00{index}.png').write_bytes((folder / '000.png').read_bytes())
    first = epoch(folders, seed=1, workers=2)
    # Four times the same photograph: worker 0 gives images 0 and 2, worker 1 gives 1 and 3.
    assert len({crop.numpy().tobytes() for crop in first}) == 4
    assert torch.equal(first, epoch(folders, seed=1, workers=2))
    assert not torch.equal(first, epoch(folders, seed=2, workers=2))


def test_epochs_draw_differently(write_pairs):
    opt = options(write_pairs(count=2), num_worker_per_gpu=1)
    loader = build_dataloader(
        build_dataset(opt), opt, num_gpu=0, sampler=torch.utils.data.SequentialSampler(range(2)), seed=0
    )
    first, second = (torch.cat([batch['lq'] for batch in loader]) for _ in range(2))
    assert not torch.equal(first, second)


def test_workers_read_lmdb(write_pairs, as_lmdb):
    databases = as_databases(write_pairs(), as_lmdb)
    assert epoch(databases, seed=0, workers=2, io_backend={'type': 'lmdb'}).shape == (4, 3, 16, 16)


@pytest.mark.parametrize('workers', [0, 2])
def test_damaged_image_is_one_message_from_any_process(write_pairs, workers):
    folders = write_pairs()
    file = folders.lq / '002.png'
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError) as caught:
        epoch(folders, seed=0, workers=workers)
    traceback.clear_frames(caught.tb)  # frees the loader now; left to the garbage collector, it waits for its workers
    assert str(caught.value).startswith(f'{file}: the image is damaged')
    assert 'Traceback' not in str(caught.value)


def test_images_of_a_pair_must_have_one_size(write_pairs):
    folders = write_pairs()
    cv2.imwrite(str(folders.lq / '001.png'), np.zeros((40, 47, 3), np.uint8))
    for phase in ('train', 'val'):
        with pytest.raises(
            UserError, match=r'differ in size: .*blur/001\.png.* has 47 x 40.*sharp/001\.png.* has 48 x 40'
        ):
            PairedDeblurDataset(options(folders, phase))[1]


def test_image_smaller_than_the_crop_is_named(write_pairs):
    dataset = PairedDeblurDataset(options(write_pairs(), gt_size=41))
    with pytest.raises(UserError, match=r'sharp/000\.png: 48 x 40 pixels are smaller than .* gt_size: 41'):
        dataset[0]


def test_file_that_vanished_is_named(write_pairs):
    folders = write_pairs()
    dataset = PairedDeblurDataset(options(folders))
    (folders.gt / '000.png').unlink()
    with pytest.raises(UserError, match=r'sharp/000\.png: cannot read the image: No such file'):
        dataset[0]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'gt_sise': 16}, r"unknown key 'gt_sise' \(did you mean 'gt_size'\?\)"),
        ({'mean': [0.5] * 3}, "unknown key 'mean'"),
        ({'gt_size': None}, r'gt_size: expected an integer'),
        ({'gt_size': 0}, r'gt_size: expected an integer'),
        ({'dataroot_lq': None}, 'dataroot_lq: expected text'),
        ({'scale': 2}, 'scale must be 1'),
        ({'io_backend': {'type': 'memcached'}}, "expected disk or lmdb, got 'memcached'"),
        ({'io_backend': {'type': 'disk', 'lock': True}}, "io_backend: unknown key 'lock'"),
        ({'io_backend': {'type': 'lmdb'}, 'recursive': True}, 'recursive are for folders'),
        ({'batch_size_per_gpu': 9, 'dataset_enlarge_ratio': 2}, 'dataset_enlarge_ratio to at least 3'),
    ],
)
def test_wrong_options_are_named(write_pairs, changes, message):
    with pytest.raises(UserError, match=message):
        PairedDeblurDataset(options(write_pairs(), **changes))
