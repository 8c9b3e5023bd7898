"""What must agree between keys, and between an option file and the machine that it is run on."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from deeprftv2_arch.config.checker import Checker
from deeprftv2_arch.config.protocols import find_protocol
from deeprftv2_arch.config.schema import DATASETS, MODELS
from deeprftv2_arch.config.stages import contradictions
from deeprftv2_arch.config.validators import mixed_precision
from deeprftv2_arch.distributed.env import count_processes
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest


def check_rules(checker: Checker, launcher: str) -> None:
    """Check what more than one key has a part in.

    Args:
        checker: It has checked each key by itself.
        launcher: `none`, `pytorch` or `slurm`: what is to start the processes of the run.
    """
    val = checker.value('val', kind=Mapping) or {}
    if checker.is_train:
        _check_names_of_datasets(checker)
        _check_schedule(checker)
        _check_stages(checker, launcher)
        _check_crop(checker)
        _check_losses(checker)
        best, metrics = checker.value('val', 'best', kind=str), val.get('metrics') or {}
        if best is not None and best not in metrics:
            checker.report(('val', 'best'), f'{best!r} is not in val.metrics{nearest(best, metrics)}.')
    elif not val and 'val' in checker.read.options:
        checker.report(('val',), 'a test needs it, with save_img at least.')
    elif checker.model not in MODELS and val.get('save_img') and 'suffix' not in val:
        checker.report(('val', 'suffix'), 'missing. It may be empty: ~.')
    _check_our_data(checker)
    _check_precision(checker)
    _check_foreign_data(checker)
    _check_machine(checker, launcher)


def _check_names_of_datasets(checker: Checker) -> None:
    datasets = checker.value('datasets', kind=Mapping)
    for name in map(str, datasets or ()):
        phase = name.split('_')[0]
        if phase not in ('train', 'val') or (phase == 'train' and name != 'train'):
            checker.report(('datasets', name), 'to train, a data set is called train, val or val_something.')
    if datasets is not None and 'train' not in datasets:
        checker.report(('datasets', 'train'), 'missing. A training needs data.')


def _check_schedule(checker: Checker) -> None:
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


def _check_stages(checker: Checker, launcher: str) -> None:
    """Stages must fill the training, and their batches be shared evenly: everything that is wrong with them."""
    train, data = checker.value('train', kind=Mapping), checker.value('datasets', 'train', kind=Mapping)
    if train is None or checker.model not in MODELS:
        return
    for message in contradictions(train, data or {}):
        checker.report_error(UserError(message))
    if any(finding.path[:2] == ('train', 'stages') for finding in checker.findings):
        return
    stages, processes = train.get('stages') or [], count_processes(launcher)
    total, iterations = checker.value('train', 'total_iter', kind=int | float), sum(s['iterations'] for s in stages)
    if stages and total is not None and iterations != total:
        message = f'their iterations add up to {iterations:.0f}, but train.total_iter is {total:.0f}.'
        checker.report(('train', 'stages'), message)
    for number, stage in enumerate(stages):
        if stage['total_batch'] % processes:
            message = f'{stage["total_batch"]} images cannot be shared evenly by {processes} processes.'
            checker.report(('train', 'stages', str(number), 'total_batch'), message)


def _check_crop(checker: Checker) -> None:
    """Our data sets cut crops of one size, or of those that the stages of our model have."""
    data, train = checker.value('datasets', 'train', kind=Mapping), checker.value('train', kind=Mapping) or {}
    if data is None or str(data.get('type')) not in DATASETS or 'gt_size' in data:
        return
    is_staged = checker.model in MODELS and train.get('stages') is not None
    is_misspelt = any(f.path[:2] == ('datasets', 'train') and "'gt_size'" in f.message for f in checker.findings)
    if not is_staged and not is_misspelt:
        message = 'missing. Size of the training crops in pixels; or give train.stages.'
        checker.report(('datasets', 'train', 'gt_size'), message)


def _check_our_data(checker: Checker) -> None:
    """The scale of our data sets, and the protocols that they are to follow."""
    scale = checker.value('scale', kind=int)
    for name, data in (checker.value('datasets', kind=Mapping) or {}).items():
        kind, path = (str(data.get('type')), ('datasets', str(name))) if isinstance(data, Mapping) else (None, ())
        if kind == 'PairedDeblurDataset' and scale not in (None, 1):
            checker.report(('scale',), f'blurred and sharp images of datasets.{name} have the same size: write 1.')
        if kind == 'PairedSRDataset' and scale is None:
            checker.report(('scale',), f'missing. datasets.{name} is for super-resolution.')
        if kind in DATASETS and (protocol := checker.value(*path, 'protocol', kind=str)) is not None:
            try:
                find_protocol(protocol, '.'.join((*path, 'protocol')))
            except UserError as error:
                checker.report_error(error)


def _check_precision(checker: Checker) -> None:
    if checker.model in MODELS:
        for section in ('train', 'val') if checker.is_train else ('val',):
            try:
                mixed_precision(checker.value(section, kind=Mapping) or {}, section)
            except UserError as error:
                checker.report_error(error)


def _check_losses(checker: Checker) -> None:
    if checker.model in MODELS and (train := checker.value('train', kind=Mapping)) is not None:
        losses = [key.name for key in MODELS[checker.model]['train'].keys if key.name.endswith('_opt')]
        if not any(train.get(name) for name in losses):
            checker.report(('train',), f'no loss is given. Add one of {", ".join(losses)}.')


def _check_foreign_data(checker: Checker) -> None:
    """Roots and lists of foreign data sets: they are named alike everywhere in BasicSR."""
    for name, data in (checker.value('datasets', kind=Mapping) or {}).items():
        if not isinstance(data, Mapping) or str(data.get('type')) in DATASETS:
            continue
        for key, value in data.items():
            path = Path(os.path.expanduser(value)) if isinstance(value, str) else None
            if path is not None and str(key).startswith(('dataroot', 'meta_info_file')) and not path.exists():
                kind = 'folder' if str(key).startswith('dataroot') else 'file'
                message = f'there is no {kind} {os.path.abspath(path)}. Put the data there, or correct the path.'
                checker.report(('datasets', str(name), str(key)), message)


def _check_machine(checker: Checker, launcher: str) -> None:
    wanted = checker.value('num_gpu')
    if launcher == 'none' and int(os.environ.get('WORLD_SIZE', 1)) > 1:
        checker.report((), f'{os.environ["WORLD_SIZE"]} processes were started for one run: add --launcher pytorch.')
    if isinstance(wanted, int) and wanted > 0:
        present = checker.catalogue.count_gpus()
        if present == 0 or (launcher == 'none' and wanted > present):
            message = f'{wanted}, but this machine has {present}. Write num_gpu: auto, or 0 to use the CPU.'
            checker.report(('num_gpu',), message)
    if checker.value('datasets', 'train', 'prefetch_mode') == 'cuda' and (
        wanted == 0 or (wanted == 'auto' and checker.catalogue.count_gpus() == 0)
    ):
        checker.report(('datasets', 'train', 'prefetch_mode'), 'cuda needs a GPU. Write cpu, or leave it out.')
    if (
        checker.is_train
        and checker.value('logger', 'use_tb_logger')
        and importlib.util.find_spec('tensorboard') is None
    ):
        checker.report(('logger', 'use_tb_logger'), 'TensorBoard is not installed. Try: pip install tensorboard')
