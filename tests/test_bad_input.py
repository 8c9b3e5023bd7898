"""Mistakes of a user, one line each that names the file or the key: exit code 2, no traceback, nothing left."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.utils import logger as basicsr_logger
from processes import python

from deeprftv2_arch.launch.run import launch


class Refusal(NamedTuple):
    """How a run ended."""

    code: int
    lines: list[str]


@pytest.fixture
def train(tmp_path, monkeypatch, capsys) -> Callable[[dict[str, Any]], Refusal]:
    """Train in this process, through the launcher; return the exit code and what it printed to stderr."""
    monkeypatch.chdir(tmp_path)
    # Each run starts with the logger of a fresh process.
    monkeypatch.setattr(basicsr_logger, 'initialized_logger', {})
    monkeypatch.setattr(logging.getLogger('basicsr'), 'handlers', [])

    def run(options: dict[str, Any]) -> Refusal:
        (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
        monkeypatch.setattr(sys, 'argv', ['train', '-opt', 'run.yml'])
        code = launch('train', tmp_path)
        return Refusal(code, capsys.readouterr().err.splitlines())

    return run


def check(refusal: Refusal, folder: Path, *words: str | Path) -> None:
    """One line with all the words, and nothing left behind."""
    assert refusal.code == 2
    errors = [line for line in refusal.lines if line.startswith('Error: ')]
    assert len(errors) == 1
    assert refusal.lines[-1] == errors[0]
    for word in words:
        assert str(word) in errors[0]
    assert not any('Traceback' in line for line in refusal.lines)
    assert not (folder / 'experiments' / 'run').exists()


@pytest.fixture
def folders(write_pairs):
    return write_pairs()


@pytest.fixture
def options(folders, training_options):
    return training_options(folders)


def use_lmdb(options: dict[str, Any], lq: Path, gt: Path) -> None:
    for dataset in options['datasets'].values():
        dataset.update(dataroot_lq=str(lq), dataroot_gt=str(gt), io_backend={'type': 'lmdb'})


def test_the_options_themselves_are_good(train, options, tmp_path):
    assert train(options).code == 0
    assert (tmp_path / 'experiments' / 'run' / 'models' / 'net_g_latest.pth').is_file()


def test_missing_folder(train, options, tmp_path):
    options['datasets']['train']['dataroot_lq'] = str(tmp_path / 'nowhere')
    check(train(options), tmp_path, 'datasets.train.dataroot_lq', tmp_path / 'nowhere')


def test_image_without_partner(train, options, folders, tmp_path):
    (folders.gt / '002.png').unlink()
    check(train(options), tmp_path, 'without partner', folders.lq / '002.png')


@pytest.mark.parametrize('phase', ['train', 'val'])
def test_truncated_image(train, options, folders, tmp_path, phase):
    data = {role: tmp_path / phase / role for role in ('lq', 'gt')}
    for role, folder in data.items():
        folder.mkdir(parents=True)
        for file in getattr(folders, role).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        options['datasets'][phase][f'dataroot_{role}'] = str(folder)
    for file in data['lq'].iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    options['val']['val_freq'] = 1
    check(train(options), tmp_path, data['lq'], 'truncated')


def test_truncated_image_met_by_a_worker_process(options, folders, tmp_path):
    for file in folders.lq.iterdir():
        file.write_bytes(file.read_bytes()[:-20])
    options['datasets']['train']['num_worker_per_gpu'] = 2
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
    done = python('-m', 'deeprftv2_arch.train', '-opt', 'run.yml', folder=tmp_path)
    check(Refusal(done.returncode, done.stderr.splitlines()), tmp_path, folders.lq, 'truncated')


def test_file_that_is_no_image(train, options, folders, tmp_path):
    for file in folders.gt.iterdir():
        file.write_text('<html>quota exceeded</html>')
    check(train(options), tmp_path, folders.gt, 'cannot decode')


def test_pair_of_two_sizes(train, options, folders, tmp_path):
    for file in folders.lq.iterdir():
        cv2.imwrite(str(file), np.zeros((40, 44, 3), np.uint8))
    check(train(options), tmp_path, folders.lq, '44 x 40', '48 x 40')


def test_image_smaller_than_the_crop(train, options, folders, tmp_path):
    options['datasets']['train']['gt_size'] = 64
    check(train(options), tmp_path, folders.gt, '48 x 40', 'gt_size: 64')


@pytest.mark.parametrize('role', ['lq', 'gt'])
def test_image_with_nan(train, options, folders, tmp_path, role):
    for file in getattr(folders, role).iterdir():
        image = cv2.imread(str(file)).astype(np.float32) / 255
        image[20, 20] = np.nan
        cv2.imwrite(str(file.with_suffix('.tif')), image)
        file.unlink()
    check(train(options), tmp_path, getattr(folders, role), '.tif', '1 pixels are NaN')


@pytest.mark.parametrize('name', ['meta_info.txt', 'data.mdb'])
def test_lmdb_without_one_of_its_files(train, options, folders, as_lmdb, tmp_path, name):
    lq, gt = as_lmdb(folders.lq), as_lmdb(folders.gt)
    (lq / name).unlink()
    use_lmdb(options, lq, gt)
    check(train(options), tmp_path, lq, name)


def test_lmdbs_with_different_keys(train, options, folders, as_lmdb, tmp_path):
    gt = as_lmdb(folders.gt)
    (folders.lq / '003.png').rename(folders.lq / '004.png')
    lq = as_lmdb(folders.lq)
    use_lmdb(options, lq, gt)
    check(train(options), tmp_path, 'keys differ', '(003)', '(004)')


def test_truncated_lmdb(train, options, folders, as_lmdb, tmp_path):
    lq, gt = as_lmdb(folders.lq), as_lmdb(folders.gt)
    os.truncate(gt / 'data.mdb', 20_000)
    use_lmdb(options, lq, gt)
    check(train(options), tmp_path, gt / 'data.mdb', 'truncated')


def test_sharp_images_are_missing_for_the_validation(train, options, folders, tmp_path):
    single = {'name': 'One', 'type': 'SingleImageDataset', 'dataroot_lq': str(folders.lq)}
    options['datasets']['val'] = {**single, 'io_backend': {'type': 'disk'}}
    words = 'val.metrics.psnr: calculate_psnr compares with sharp images, and datasets.val has none. Remove it.'
    check(train(options), tmp_path, words)


@pytest.mark.parametrize('name', ['group/exp1', '../precious'])
def test_a_name_that_is_a_path(train, options, tmp_path, name):
    (tmp_path / 'precious').mkdir()
    options['name'] = name
    check(train(options), tmp_path, 'run.yml:', 'name: ', 'is a path')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['precious', 'run.yml', 'set']


def test_a_crop_of_a_later_stage(train, options, folders, tmp_path):
    del options['datasets']['train']['gt_size']
    stages = [{'gt_size': size, 'total_batch': 1, 'iterations': count} for size, count in ((32, 2), (48, 1))]
    options['train']['stages'] = stages
    check(train(options), tmp_path, folders.gt / '000.png', '48 x 40', 'gt_size: 48')


def test_misspelt_key_of_a_data_set(train, options, tmp_path):
    options['datasets']['train']['use_hflipp'] = True
    check(train(options), tmp_path, 'datasets.train.use_hflipp', "did you mean 'use_hflip'")


def test_misspelt_key_of_the_training(train, options, tmp_path):
    options['train']['grad_clipp'] = 0.1
    check(train(options), tmp_path, 'train.grad_clipp', "did you mean 'grad_clip'")


def test_empty_validation_set_folder(train, options, tmp_path):
    for role in ('lq', 'gt'):
        (tmp_path / 'empty' / role).mkdir(parents=True)
        options['datasets']['val'][f'dataroot_{role}'] = str(tmp_path / 'empty' / role)
    check(train(options), tmp_path, tmp_path / 'empty' / 'gt', 'holds no images')


SMALL = {'type': 'DeepRFTv2', 'width': 4, 'num_blocks': [0, 0], 'block_types': [['naf', 'naf']], 'num_columns': 1}


@pytest.mark.parametrize(
    ('tile', 'overlap', 'words'),
    [
        (64, 64, ['overlap must be in [0, 64)', 'got 64']),
        (32, 48, ['overlap must be in [0, 32)', 'got 48']),
        (-64, 0, ['tile must be a positive multiple of 2', 'got -64']),
        (63, 16, ['tile must be a positive multiple of 2', 'got 63']),
    ],
)
def test_tiles_that_cannot_be(train, options, tmp_path, tile, overlap, words):
    options['network_g'] = {**SMALL, 'tile': tile, 'tile_overlap': overlap}
    check(train(options), tmp_path, 'network_g', *words)


@pytest.mark.parametrize(
    ('backend', 'reason'),
    [
        ('nimba', 'no such backend'),
        ('triton', 'it computes float32 on CUDA'),
        ('mamba_ssm', 'it computes float32 on CUDA'),
    ],
)
def test_scan_backend_that_cannot_run(train, options, tmp_path, monkeypatch, backend, reason):
    monkeypatch.setenv('DEEPRFTV2_SCAN', backend)
    options['network_g'] = SMALL
    words = (
        'environment variable DEEPRFTV2_SCAN',
        repr(backend),
        'cpu',
        reason,
        'Choices here: numba, wide, reference',
    )
    check(train(options), tmp_path, *words)


def test_sizes_of_crops_and_images_are_never_in_the_way(train, options):
    options['network_g'] = SMALL
    options['datasets']['train']['gt_size'] = 33
    assert train(options).code == 0


def test_float16(train, options, tmp_path):
    options['train']['amp'] = 'float16'
    check(train(options), tmp_path, 'train.amp: float16 is refused', '65,504', 'bfloat16')


def test_checkpoint_of_another_network(train, options, tmp_path):
    path = tmp_path / 'other.pth'
    torch.save({'params': torch.nn.Conv2d(3, 3, 3).state_dict()}, path)
    options['path']['pretrain_network_g'] = str(path)
    check(train(options), tmp_path, path, 'EDSR', 'missing: conv_first.weight', 'unexpected: weight')
