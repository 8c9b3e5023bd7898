"""What must agree between keys, and between an option file and the machine that it is run on."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from deeprftv2_arch.config.blur_synthesis import SynthesizedBlurOptions
from deeprftv2_arch.config.checker import Checker, losses
from deeprftv2_arch.config.network_options import window
from deeprftv2_arch.config.options import Options
from deeprftv2_arch.config.problems import KeyPath
from deeprftv2_arch.config.schema import (
    DatasetOptions,
    DeblurTrainOptions,
    PairedDeblurOptions,
    PairedOptions,
    PairedSROptions,
)
from deeprftv2_arch.config.stages import stage_mistakes
from deeprftv2_arch.config.value_types import MISSING_DATA, template_mistake
from deeprftv2_arch.distributed.env import count_processes
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import expand


def check_agreement(checker: Checker, launcher: str) -> None:
    """Check what more than one key has a part in.

    Args:
        checker: It has checked each section by itself.
        launcher: `none`, `pytorch` or `slurm`: what is to start the processes of the run.
    """
    _check_kinds_of_datasets(checker)
    if checker.is_train:
        _check_schedule(checker)
        _check_crops(checker)
        if checker.is_deblur:
            _check_deblur_training(checker, launcher)
    elif not checker.is_deblur and checker.method_from('nondist_validation').startswith('basicsr.'):
        _check_suffix(checker)
    if checker.is_deblur:
        _check_names_of_datasets(checker)
    _check_scale(checker)
    _check_channels(checker)
    _check_sharp_images(checker)
    _check_foreign_files(checker)
    _check_machine(checker, launcher)


def _check_suffix(checker: Checker) -> None:
    """BasicSR's validation reads it when it saves images; a validation of someone else may not."""
    if checker.value('val', 'save_img') and 'suffix' not in checker.value('val'):
        checker.report(('val', 'suffix'), 'missing. It may be empty: ~.')


def _datasets(checker: Checker) -> Iterator[tuple[KeyPath, Mapping[str, Any], type[Options]]]:
    """The data sets with their places and the sections that they read."""
    for name, data in (checker.value('datasets', kind=Mapping) or {}).items():
        if isinstance(data, Mapping):
            kind = checker.catalogue['dataset'].get(str(data.get('type')))
            yield ('datasets', str(name)), data, DatasetOptions if kind is None else kind.section(DatasetOptions)


def _check_kinds_of_datasets(checker: Checker) -> None:
    datasets = checker.value('datasets', kind=Mapping)
    for name in map(str, datasets or ()):
        kind = name.split('_')[0]
        if checker.is_train and name != 'train' and kind != 'val':
            checker.report(('datasets', name), 'to train, a data set is called train, val or val_something.')
        # BasicSR would crop, shuffle and turn the images of one called train.
        if not checker.is_train and kind not in ('test', 'val'):
            checker.report(('datasets', name), 'to test, a data set is called test or test_something.')
    if not checker.is_train:
        return
    if datasets is not None and 'train' not in datasets:
        checker.report(('datasets', 'train'), 'missing. A training needs data.')


def _check_names_of_datasets(checker: Checker) -> None:
    """Results, images and the values of the log go by the names of the data sets."""
    taken: dict[str, str] = {}
    for path, data, _ in _datasets(checker):
        name = data.get('name')
        if path[-1] == 'train' or not isinstance(name, str):
            continue
        key = name.casefold() if sys.platform in ('win32', 'darwin') else name  # as their file systems do
        if key in taken:
            message = f'{taken[key]} is called {name!r} too, and their results could not be told apart. Rename one.'
            checker.report((*path, 'name'), message)
        taken.setdefault(key, '.'.join(path))


def _check_schedule(checker: Checker) -> None:
    """The learning rate must be defined to the end: after its last period BasicSR's curve ends with a TypeError."""
    total = checker.value('train', 'total_iter', kind=int | float)
    path = ('train', 'scheduler')
    periods, end = checker.value(*path, 'periods', kind=list), checker.value(*path, 'T_max', kind=int | float)
    if total is None:
        return
    warmup = checker.value('train', 'warmup_iter', kind=int)
    if warmup is not None and warmup > total:
        message = f'the training ends at train.total_iter: {total:.0f}, before the learning rate is reached.'
        checker.warn(('train', 'warmup_iter'), message)
    if periods and all(isinstance(period, int | float) for period in periods) and sum(periods) < total:
        message = f'they add up to {sum(periods):.0f} iterations, but train.total_iter is {total:.0f}.'
        checker.report((*path, 'periods'), message)
    if end is not None and checker.value(*path).get('type', 'CosineAnnealingLR') == 'CosineAnnealingLR' and end < total:
        message = f'{end:.0f} is less than train.total_iter: {total:.0f}, where the curve must end.'
        checker.report((*path, 'T_max'), message)


def _check_crops(checker: Checker) -> None:
    """Validations pad images for networks of windows, trainings do not; some networks do it by themselves."""
    crop, scale = checker.value('datasets', 'train', 'gt_size', kind=int), checker.value('scale', kind=int) or 1
    size = window(checker.value('network_g', kind=Mapping) or {})
    if crop and crop // scale % size:
        message = (
            f'crops of {crop // scale} pixels for a network with window_size: {size}. Unless it pads them by itself, '
            f'write a multiple of {size * scale}.'
        )
        checker.warn(('datasets', 'train', 'gt_size'), message)


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
    has_validation = any(str(name).startswith('val') for name in checker.value('datasets', kind=Mapping) or {})
    if checker.value('val', 'best') and not has_validation:
        checker.report(('val', 'best'), 'there is no data set to validate on. Add datasets.val, or remove the key.')
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


CHANNELS = ('in_channels', 'out_channels', 'num_in_ch', 'num_out_ch', 'in_chans')
"""What networks call the number of channels that they take, or give."""

COLOR_SETS = ('PairedImageDataset', 'SingleImageDataset')
"""Data sets of BasicSR with `color: y` for one channel."""

DIRECT_MODELS = ('SRModel', 'SwinIRModel')
"""Models of BasicSR that hand the images of a data set to the network as they are, as `DeblurModel` does."""


def _check_channels(checker: Checker) -> None:
    """Compare the channels of the network with those of the images that it will be given."""
    is_direct = checker.is_deblur or checker.value('model_type') in DIRECT_MODELS
    network = checker.value('network_g', kind=Mapping) or {}
    kind = checker.catalogue['arch'].get(str(network.get('type')))
    if kind is None or not is_direct or not kind.module.startswith(('deeprftv2_arch.', 'basicsr.')):
        return
    for path, data, section in _datasets(checker):
        if issubclass(section, PairedOptions | SynthesizedBlurOptions):
            channels = 3
        elif data.get('type') in COLOR_SETS:
            channels = 1 if data.get('color') == 'y' else 3
        else:
            continue
        for key in CHANNELS:
            has_default = key in kind.arguments and not kind.arguments[key].required
            given = network.get(key, 3 if has_default else None)
            if isinstance(given, int) and given != channels and not checker.is_wrong(('network_g', key)):
                place = ('network_g', key) if key in network else ('network_g',)
                message = f'{key}: {given}, but the images of {".".join(path)} have {channels} channels'
                hint = ' For one channel: type: PairedImageDataset, with color: y.' if given == 1 else ''
                checker.report(place, f'{message}. Write {channels}, or take another data set.{hint}')


def _check_sharp_images(checker: Checker) -> None:
    """Look for metrics that compare with a sharp image where the data set has none."""
    metrics = checker.value('val', 'metrics', kind=Mapping) or {}
    for path, data, _ in _datasets(checker):
        if not checker.is_deblur or data.get('type') != 'SingleImageDataset' or path[-1] == 'train':
            continue
        for name, metric in metrics.items():
            kind = checker.catalogue['metric'].get(str(metric.get('type'))) if isinstance(metric, Mapping) else None
            if kind is not None and 'img2' in kind.arguments:
                message = f'{kind.name} compares with sharp images, and {".".join(path)} has none. Remove it.'
                checker.report(('val', 'metrics', str(name)), message)


def _check_foreign_files(checker: Checker) -> None:
    """Check keys that are named alike in all of BasicSR, where no section declares them: files, and templates."""
    folders = [(path, data) for path, data, section in _datasets(checker) if not issubclass(section, PairedOptions)]
    for path, part in [*folders, (('path',), checker.value('path', kind=Mapping) or {})]:
        for key, value in part.items():
            name = str(key)
            if isinstance(value, str) and is_path(name):
                message = _missing(name, value, '' if path == ('path',) else MISSING_DATA)
            else:
                message = template_mistake(value) if name == 'filename_tmpl' and value is not None else ''
            if message:
                checker.report((*path, name), message)


def check_own_folder(checker: Checker) -> None:
    """Look for checkpoints in the folder of an earlier run of this name, which is renamed when the new one starts."""
    name, paths = checker.value('name', kind=str), checker.value('path', kind=Mapping) or {}
    if not name or paths.get('resume_state'):
        return
    folder = os.path.realpath(os.path.join('experiments', name))
    for key, value in paths.items():
        is_file = isinstance(value, str) and str(key).startswith('pretrain_network_')
        if is_file and os.path.realpath(expand(value)).startswith(folder + os.sep):
            message = f'it lies in the folder of the last run {name!r}: the run would move it away before loading.'
            checker.report(('path', str(key)), f'{message} Take another name for the run.')


def is_path(key: str) -> bool:
    """Whether a key of a data set or of `path` names a file or a folder, in BasicSR as here."""
    return key.startswith(('dataroot', 'meta_info_file', 'pretrain_network_'))


def _missing(key: str, value: str, advice: str) -> str:
    kind = 'folder' if key.startswith('dataroot') else 'file'
    if not value.strip():
        return f'it is empty. Name a {kind}; the current folder is called a dot.'
    path = expand(value)
    return '' if os.path.exists(path) else f'there is no {kind} {os.path.abspath(path)}.{advice}'


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
    is_debugging = 'debug' in (checker.value('name', kind=str) or '')  # then BasicSR writes neither
    if checker.is_train and not is_debugging and checker.value('logger', 'wandb', 'project') is not None:
        if not logs:
            checker.report(('logger', 'use_tb_logger'), 'Weights & Biases uploads what TensorBoard writes: write true.')
        package = importlib.util.find_spec('wandb')
        if package is None or package.origin is None:  # its runs leave a folder of the same name
            message = 'Weights & Biases is not installed. Try: pip install wandb; or project: ~.'
            checker.report(('logger', 'wandb', 'project'), message)


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
