"""What must agree between keys, and between an option file and the machine that it is run on."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeprftv2_arch.config.checker import Checker, losses
from deeprftv2_arch.config.network_options import image_channels
from deeprftv2_arch.config.options import MISSING_DATA, Options
from deeprftv2_arch.config.problems import KeyPath
from deeprftv2_arch.config.schema import (
    DatasetOptions,
    DeblurTrainOptions,
    PairedDeblurOptions,
    PairedOptions,
    PairedSROptions,
)
from deeprftv2_arch.config.stages import stage_mistakes
from deeprftv2_arch.distributed.env import count_processes
from deeprftv2_arch.utils.errors import UserError


def check_agreement(checker: Checker, launcher: str) -> None:
    """Check what more than one key has a part in.

    Args:
        checker: It has checked each section by itself.
        launcher: `none`, `pytorch` or `slurm`: what is to start the processes of the run.
    """
    if checker.is_train:
        _check_names_of_datasets(checker)
        _check_end_of_schedule(checker)
        if checker.is_deblur:
            _check_deblur_training(checker, launcher)
    elif not checker.is_deblur and checker.value('val', 'save_img') and 'suffix' not in checker.value('val'):
        checker.report(('val', 'suffix'), 'missing. It may be empty: ~.')
    _check_scale(checker)
    _check_channels(checker)
    _check_foreign_files(checker)
    _check_machine(checker, launcher)


def _datasets(checker: Checker) -> Iterator[tuple[KeyPath, Mapping[str, Any], type[Options]]]:
    """The data sets with their places and the sections that they read."""
    for name, data in (checker.value('datasets', kind=Mapping) or {}).items():
        if isinstance(data, Mapping):
            kind = checker.catalogue['dataset'].get(str(data.get('type')))
            yield ('datasets', str(name)), data, DatasetOptions if kind is None else kind.section(DatasetOptions)


def _check_names_of_datasets(checker: Checker) -> None:
    datasets = checker.value('datasets', kind=Mapping)
    for name in map(str, datasets or ()):
        if name != 'train' and name.split('_')[0] != 'val':
            checker.report(('datasets', name), 'to train, a data set is called train, val or val_something.')
    if datasets is not None and 'train' not in datasets:
        checker.report(('datasets', 'train'), 'missing. A training needs data.')


def _check_end_of_schedule(checker: Checker) -> None:
    """The learning rate must be defined to the end: after its last period BasicSR's curve ends with a TypeError."""
    total = checker.value('train', 'total_iter', kind=int | float)
    path = ('train', 'scheduler')
    periods, end = checker.value(*path, 'periods', kind=list), checker.value(*path, 'T_max', kind=int | float)
    if total is None:
        return
    if periods and all(isinstance(period, int | float) for period in periods) and sum(periods) < total:
        message = f'they add up to {sum(periods):.0f} iterations, but train.total_iter is {total:.0f}.'
        checker.report((*path, 'periods'), message)
    if end is not None and checker.value(*path).get('type', 'CosineAnnealingLR') == 'CosineAnnealingLR' and end < total:
        message = f'{end:.0f} is less than train.total_iter: {total:.0f}, where the curve must end.'
        checker.report((*path, 'T_max'), message)


def _check_deblur_training(checker: Checker, launcher: str) -> None:
    """Check stages, and that there is a loss."""
    train = checker.value('train', kind=Mapping)
    if train is None:
        return
    typed = None
    with suppress(UserError):  # what is wrong with them is reported already
        kept = {key: value for key, value in train.items() if key in ('total_iter', 'stages')}
        typed = DeblurTrainOptions.read(kept, 'train')
    data = checker.value('datasets', 'train', kind=Mapping) or {}
    for path, message in stage_mistakes(train, data, typed, count_processes(launcher)):
        checker.report(path, message)
    names = losses(DeblurTrainOptions)
    if not any(train.get(name) for name in names):
        checker.report(('train',), f'no loss is given. Add one of {", ".join(names)}.')


def _check_scale(checker: Checker) -> None:
    scale = checker.value('scale', kind=int)
    for path, _, section in _datasets(checker):
        if issubclass(section, PairedDeblurOptions) and scale not in (None, 1):
            message = f'blurred and sharp images of {".".join(path)} have the same size: write 1.'
            checker.report(('scale',), message)
        if issubclass(section, PairedSROptions) and scale is None:
            checker.report(('scale',), f'missing. {".".join(path)} is for super-resolution.')


def _check_channels(checker: Checker) -> None:
    """The images must have as many channels as the network takes: three, or with BasicSR's `color: y` one."""
    network = checker.value('network_g', kind=Mapping)
    if network is None or not checker.is_deblur:
        return
    wanted = image_channels(network)
    for path, data, section in _datasets(checker):
        is_ours = issubclass(section, PairedOptions)
        if not is_ours and data.get('type') != 'PairedImageDataset':
            continue
        given = 1 if not is_ours and data.get('color') == 'y' else 3
        if given != wanted:
            message = f'the network takes images of {wanted} channel(s), but those of {".".join(path)} have {given}.'
            advice = ' For one channel: type: PairedImageDataset, with color: y.' if wanted == 1 else ''
            checker.report(('network_g',), message + advice)


def _check_foreign_files(checker: Checker) -> None:
    """Check that files exist whose keys are named alike in all of BasicSR, where no section declares them as files."""
    folders = [(path, data) for path, data, section in _datasets(checker) if not issubclass(section, PairedOptions)]
    for path, part in [*folders, (('path',), checker.value('path', kind=Mapping) or {})]:
        for key, value in part.items():
            is_file = str(key).startswith(('meta_info_file', 'pretrain_network_'))
            if isinstance(value, str) and (is_file or str(key).startswith('dataroot')):
                file = Path(os.path.expanduser(value))
                if not file.exists():
                    advice = '' if path == ('path',) else MISSING_DATA
                    kind = 'file' if is_file else 'folder'
                    checker.report((*path, str(key)), f'there is no {kind} {os.path.abspath(file)}.{advice}')


def _check_machine(checker: Checker, launcher: str) -> None:
    wanted = checker.value('num_gpu')
    if launcher == 'none' and int(os.environ.get('WORLD_SIZE', 1)) > 1:
        checker.report((), f'{os.environ["WORLD_SIZE"]} processes were started for one run: add --launcher pytorch.')
    present = None if checker.early else _count_gpus()
    if isinstance(wanted, int) and present is not None:
        usable = present if launcher == 'none' or present == 0 else wanted  # else each machine has its share
        if wanted > usable:
            message = f'{wanted}, but this machine has {present}. Write num_gpu: auto, or 0 to use the CPU.'
            checker.report(('num_gpu',), message)
    has_no_gpu = wanted == 0 or (wanted == 'auto' and present == 0)
    if checker.value('datasets', 'train', 'prefetch_mode') == 'cuda' and has_no_gpu:
        checker.report(('datasets', 'train', 'prefetch_mode'), 'cuda needs a GPU. Write cpu, or leave it out.')
    logs = checker.is_train and checker.value('logger', 'use_tb_logger')
    if logs and importlib.util.find_spec('tensorboard') is None:
        checker.report(('logger', 'use_tb_logger'), 'TensorBoard is not installed. Try: pip install tensorboard')


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
