"""Fixtures shared by the tests of the data sets, the model and whole trainings."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch

import deeprftv2_arch  # noqa: F401  # patches BasicSR, which must come before any import of it

# isort: split
from basicsr.utils.lmdb_util import make_lmdb_from_imgs

# One thread in each process, for several tests run at a time. The processes that they start inherit the variables.
torch.set_num_threads(1)
os.environ.update(OMP_NUM_THREADS='1', NUMBA_NUM_THREADS='1')

# Where nobody has chosen how processes start, BasicSR chooses `spawn`, and the next tests of a process would have it.
if sys.platform == 'linux':
    multiprocessing.set_start_method('fork')

# A shell starts what it runs in the background with Ctrl+C ignored, and so would be all that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class PairFolders(NamedTuple):
    """Two folders of images with the same stems."""

    lq: Path
    gt: Path


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., PairFolders]:
    """Write blurred and sharp pictures, ``000``, ``001``, ..., below the test's own folder."""

    def write(
        name: str = 'set',
        *,
        count: int = 4,
        height: int = 40,
        width: int = 48,
        suffixes: tuple[str, str] = ('.png',) * 2,
    ) -> PairFolders:
        folders = PairFolders(lq=tmp_path / name / 'blur', gt=tmp_path / name / 'sharp')
        rng = np.random.default_rng(0)
        for folder in folders:
            folder.mkdir(parents=True)
        for index in range(count):
            sharp = cv2.resize(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8), (width, height))
            cv2.imwrite(str(folders.lq / f'{index:03}{suffixes[0]}'), cv2.blur(sharp, (1, 5)))
            cv2.imwrite(str(folders.gt / f'{index:03}{suffixes[1]}'), sharp)
        return folders

    return write


@pytest.fixture
def as_lmdb() -> Callable[[Path], Path]:
    """Pack a folder of images as BasicSR does, beside the folder."""

    def pack(folder: Path) -> Path:
        database = folder.with_suffix('.lmdb')
        files = sorted(path.name for path in folder.iterdir())
        make_lmdb_from_imgs(str(folder), str(database), files, [Path(file).stem for file in files])
        return database

    return pack


@pytest.fixture
def training_options() -> Callable[[PairFolders], dict[str, Any]]:
    """Options of a training of three iterations that validates once, on a stock network with our parts."""

    def make(folders: PairFolders) -> dict[str, Any]:
        data = {
            'name': 'Photos',
            'type': 'PairedDeblurDataset',
            'dataroot_gt': str(folders.gt),
            'dataroot_lq': str(folders.lq),
            'io_backend': {'type': 'disk'},
        }
        training = {'gt_size': 32, 'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 1}
        return {
            'name': 'run',
            'model_type': 'DeblurModel',
            'num_gpu': 0,
            'manual_seed': 0,
            'datasets': {'train': {**data, **training}, 'val': dict(data)},
            'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 1},
            'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
            'train': {
                'total_iter': 3,
                'pixel_opt': {'type': 'L1Loss'},
                'fft_opt': {'type': 'FrequencyLoss', 'loss_weight': 0.01},
            },
            'val': {
                'val_freq': 3,
                'save_img': True,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
            },
            'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
        }

    return make
