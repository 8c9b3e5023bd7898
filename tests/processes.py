"""Processes as a user starts them, and the two builds of BasicSR to start them with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIXED = os.environ.get('DEEPRFTV2_ARCH_BASICSR_FIXED')
"""Folder with an installation of `basicsr-fixed`, BasicSR's master: `make test` makes one."""

TIMEOUT = 300
"""Seconds after which a process is taken to hang."""

BASICSR_BUILDS = [
    pytest.param(None, id='basicsr'),
    pytest.param(
        FIXED,
        id='basicsr-fixed',
        marks=pytest.mark.skipif(not FIXED, reason='DEEPRFTV2_ARCH_BASICSR_FIXED names no basicsr-fixed'),
    ),
]


def python(
    *arguments: str | Path,
    folder: Path,
    path: Sequence[str | Path | None] = (ROOT,),
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder.

    Args:
        arguments: Its command line.
        folder: The current folder.
        path: Folders for PYTHONPATH, found before what is installed. None stands for nothing.
        environment: Further environment variables.
    """
    command = [sys.executable, *map(str, arguments)]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    with subprocess.Popen(
        command, cwd=folder, env=variables(path, **environment), start_new_session=True, **pipes
    ) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def variables(path: Sequence[str | Path | None] = (ROOT,), **environment: str) -> dict[str, str]:
    """Environment variables for a process of ours, see `python`."""
    return {**os.environ, 'PYTHONPATH': os.pathsep.join(str(entry) for entry in path if entry), **environment}


def free_port() -> int:
    """A port for processes to meet at."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def error_lines(process: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that tell the user what is wrong. There is no traceback beside them."""
    assert 'Traceback' not in process.stderr, process.stderr
    return [line for line in process.stderr.splitlines() if line.startswith('Error: ')]


def stock_options(lq: Path, gt: Path, kind: str = 'train') -> dict[str, Any]:
    """Options of a training of four iterations, or of a test, that name nothing but parts of BasicSR."""
    data = {
        'name': 'photos',
        'type': 'PairedImageDataset',
        'dataroot_lq': str(lq),
        'dataroot_gt': str(gt),
        'io_backend': {'type': 'disk'},
    }
    options = {
        'name': 'stock',
        'model_type': 'SRModel',
        'scale': 1,
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {'test_1': data},
        'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 1},
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'val': {'save_img': True, 'suffix': None, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    }
    if kind == 'test':
        return options
    crops = {'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 1, 'batch_size_per_gpu': 1}
    return {
        **options,
        'datasets': {'train': {**data, **crops, 'dataset_enlarge_ratio': 100}, 'val': data},
        'train': {
            'total_iter': 4,
            'optim_g': {'type': 'AdamW', 'lr': 0.001, 'betas': [0.9, 0.9]},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.5},
            'pixel_opt': {'type': 'L1Loss'},
        },
        'val': {**options['val'], 'val_freq': 2},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': True},
    }
