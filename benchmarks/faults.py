"""Kill a training again and again, and see what it comes back with: `python benchmarks/faults.py`.

A tiny network trains on made-up images, saves every 5 iterations, validates every 7 and keeps 3 checkpoints and the
best one. In turns the process is killed (SIGKILL) at a random moment of training, while a checkpoint is being written,
and while pictures of a validation are being written. After each kill every file that the training left under its final
name is read, and the training is started again with `--auto_resume`. At the end it is let run to its last iteration.

Exit code 1 if a file cannot be read, if a start fails, or if one goes on from before the last completed save.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import yaml
from machine import describe

import deeprftv2_arch  # noqa: F401

# isort: split
from deeprftv2_arch.checkpoints.io import read_checkpoint
from deeprftv2_arch.launch.run import launch
from deeprftv2_arch.utils.errors import UserError

MOMENTS = ('training', 'saving', 'validation')
EXPERIMENT = Path('experiments', 'faults')
PATIENCE = 120
"""Seconds within which a started training must reach the moment at which it is to be killed."""


class Killed(NamedTuple):
    """What one kill left.

    Attributes:
        moment: What the training was doing.
        reached: Iterations it had logged.
        saved: Iteration of its newest completed checkpoint, 0 for none.
        unreadable: Files under their final names that cannot be read.
        unfinished: Files still under the names that they have while they are written.
    """

    moment: str
    reached: int
    saved: int
    unreadable: list[str]
    unfinished: int


def write_data(folder: Path) -> None:
    """Write six pairs of images."""
    rng = np.random.default_rng(0)
    for role in ('lq', 'gt'):
        (folder / role).mkdir()
        for index in range(6):
            cv2.imwrite(str(folder / role / f'{index}.png'), rng.integers(0, 256, (64, 64, 3), np.uint8))


def training_options(total_iter: int) -> dict[str, Any]:
    """Options of the training, which ends after this many iterations."""
    data = {'name': 'noise', 'type': 'PairedDeblurDataset', 'dataroot_lq': 'lq', 'dataroot_gt': 'gt'}
    loader = {'num_worker_per_gpu': 1, 'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 20}
    network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 32, 'num_block': 2, 'upscale': 1}
    return {
        'name': EXPERIMENT.name,
        'model_type': 'DeblurModel',
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {'train': {**data, 'gt_size': 32, **loader}, 'val': data},
        'network_g': network,
        'path': {},
        'train': {
            'total_iter': total_iter,
            'scheduler': {'type': 'CosineAnnealingLR', 'T_max': 10**9},
            'ema_decay': 0.9,
            'accumulate': 2,
            'pixel_opt': {'type': 'L1Loss'},
        },
        'val': {
            'val_freq': 7,
            'save_img': True,
            'best': 'psnr',
            'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
        },
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 5, 'keep_checkpoints': 3, 'use_tb_logger': False},
    }


class Training:
    """A training in a process of its own, forked so that it starts without the imports."""

    def __init__(self, folder: Path, total_iter: int) -> None:
        (folder / 'faults.yml').write_text(yaml.safe_dump(training_options(total_iter)))
        self.folder = folder
        self.log = folder / f'{time.time_ns()}.txt'
        self.process = multiprocessing.get_context('fork').Process(target=self._run)
        self.process.start()

    def _run(self) -> None:
        os.setsid()  # to be killed with its workers
        os.chdir(self.folder)
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ['train', '-opt', 'faults.yml', '--auto_resume']
        logging.raiseExceptions = False
        code = launch('train', self.folder)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors='replace') if self.log.is_file() else ''

    def iterations(self) -> list[int]:
        """The iterations that it has logged."""
        return [int(number.replace(',', '')) for number in re.findall(r'iter: *([\d,]+), lr', self.said())]

    def begun_from(self) -> int:
        """The iteration that it resumed from, 0 for a new training."""
        found = re.search(r'Resuming training from epoch: \d+, iter: (\d+)', self.said())
        return int(found[1]) if found else 0

    def wait_for(self, moment: str, rng: random.Random) -> None:
        """Wait until it does what it is to be killed at.

        Raises:
            RuntimeError: It ended by itself, or did not come to it.
        """
        deadline = time.monotonic() + PATIENCE
        while not self.iterations():
            self._check(deadline)
            time.sleep(0.01)
        if moment == 'training':
            time.sleep(rng.uniform(0, 1.5))
            return
        before = self._being_written(moment)
        while not self._being_written(moment) - before:
            self._check(deadline)
        time.sleep(rng.uniform(0, 0.004))

    def _being_written(self, moment: str) -> set[Path]:
        folders = ('models', 'training_states') if moment == 'saving' else ('visualization',)
        below = self.folder / EXPERIMENT
        return {path for name in folders for path in (below / name).rglob('*.part' if moment == 'saving' else '*.p*')}

    def _check(self, deadline: float) -> None:
        if not self.process.is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f'The training did not go on as it should:\n{self.said()[-2000:]}')

    def kill(self, moment: str) -> Killed:
        """Kill it, and look at what it leaves."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        files = [path for path in (self.folder / EXPERIMENT).rglob('*') if path.is_file()]
        return Killed(
            moment,
            max(self.iterations(), default=0),
            max((int(path.stem) for path in files if path.suffix == '.state'), default=0),
            [str(path) for path in files if not readable(path)],
            sum(path.suffix == '.part' for path in files),
        )


def readable(path: Path) -> bool:
    """Whether a checkpoint or a picture holds what it should; files of other kinds are not judged."""
    if path.suffix in ('.pth', '.state'):
        try:
            return bool(read_checkpoint(path))
        except UserError:
            return False
    return path.suffix != '.png' or cv2.imread(str(path)) is not None


def kill_and_resume(folder: Path, kills: int, seed: int) -> Iterable[tuple[Killed, int]]:
    """Kill a training this often; yield what each kill left and the iteration from which the next start went on."""
    rng = random.Random(seed)
    training = Training(folder, 10**6)
    for number in range(kills):
        training.wait_for(MOMENTS[number % len(MOMENTS)], rng)
        killed = training.kill(MOMENTS[number % len(MOMENTS)])
        last = number == kills - 1
        training = Training(folder, killed.saved + 10 if last else 10**6)
        if last:
            training.process.join(PATIENCE)
            if training.process.exitcode != 0:
                raise RuntimeError(f'The last training did not end well:\n{training.said()[-2000:]}')
        else:
            training.wait_for('training', random.Random(0))
        yield killed, training.begun_from()


def main() -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20, help='how often (default 20)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random moments (default 0)')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f'{describe()}\n')
    print('| kill | while | iterations done | last complete save | unfinished files | unreadable | went on from |')
    print('| ---: | --- | ---: | ---: | ---: | ---: | ---: |')
    failures, lost = 0, []
    with tempfile.TemporaryDirectory(prefix='faults_') as folder:
        write_data(Path(folder))
        for number, (killed, resumed) in enumerate(kill_and_resume(Path(folder), arguments.kills, arguments.seed), 1):
            failures += bool(killed.unreadable) or resumed != killed.saved
            lost.append(killed.reached - resumed)
            print(
                f'| {number} | {killed.moment} | {killed.reached} | {killed.saved} | {killed.unfinished} | '
                f'{len(killed.unreadable)} | {resumed} |',
                flush=True,
            )
    print(f'\n{arguments.kills} kills, {failures} failures; at most {max(lost)} iterations were done again.')
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
