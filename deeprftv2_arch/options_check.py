"""What can be known to be wrong with an option file before a run touches the disk.

The toolbox reads its options one by one while it runs: it archives the last experiment and makes new folders first, and
stops with a KeyError later. These checks come before, and name the key.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils import registry
from basicsr.utils.options import ordered_yaml

from deeprftv2_arch.errors import UserError
from deeprftv2_arch.option_keys import nearest
from deeprftv2_arch.toolbox import OPTIMIZERS

NEEDED = ('name', 'num_gpu', 'model_type', 'datasets', 'path')
NEEDED_BY_DATASET = ('name', 'type')
NEEDED_TO_TRAIN = (
    'datasets.train.batch_size_per_gpu',
    'datasets.train.num_worker_per_gpu',
    'train.total_iter',
    'logger.print_freq',
    'logger.save_checkpoint_freq',
    'logger.use_tb_logger',
)
SCHEDULERS = {
    'MultiStepLR': MultiStepRestartLR,
    'MultiStepRestartLR': MultiStepRestartLR,
    'CosineAnnealingRestartLR': CosineAnnealingRestartLR,
}
PATH_KEYS = re.compile('(pretrain_network|param_key|strict_load)_.+|resume_state|ignore_resume_networks|.+_root')
COMPUTED_PATHS = ('models', 'training_states', 'log', 'visualization')
NUMBER_AS_TEXT = re.compile(r'[-+]?\d+[eE][-+]?\d+')


def read_options(file: str | Path) -> dict[str, Any]:
    """Read an option file as the toolbox will, and check that it has what every start needs.

    Raises:
        UserError: The file is missing or not YAML, or lacks a key.
    """
    try:
        with open(file, encoding='utf-8') as stream:
            options = yaml.load(stream, Loader=ordered_yaml()[0])
    except OSError as error:
        raise UserError(f'Cannot read the option file {file}: {error.strerror}.') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f'{file} is not a YAML file: {" ".join(str(error).split())}.') from error
    if not isinstance(options, Mapping):
        raise UserError(f'{file} is not an option file: it holds no keys.')
    for key in NEEDED:
        _need(options, key)
    for key in ('datasets', 'path', *(f'datasets.{name}' for name in options['datasets'] or ())):
        if not isinstance(_need(options, key), Mapping):
            raise UserError(f'{key} has no keys of its own in {file}.')
    return options


def check_overrides(options: Mapping[str, Any], overrides: list[str]) -> None:
    """Check the arguments of `--force_yml`, which the toolbox executes as they are.

    Raises:
        UserError: An argument is not of the form `key:key=value`, or names a part that the option file does not have.
    """
    for override in overrides:
        keys, separator, value = override.partition('=')
        if not separator or '=' in value:
            raise UserError(f'--force_yml {override}: expected key:key=value, with one equals sign.')
        part: Any = options
        for key in keys.strip().split(':')[:-1]:
            part = part.get(key) if isinstance(part, Mapping) else None
        if not isinstance(part, Mapping):
            raise UserError(f'--force_yml {override}: the option file has no part {keys.rpartition(":")[0]}.')


def check_options(options: Mapping[str, Any]) -> None:
    """Check the options of a run as the toolbox has parsed them.

    Raises:
        UserError: Naming the first key found to be wrong and what to do.
    """
    for key, value in _values(options):
        if isinstance(value, str) and NUMBER_AS_TEXT.fullmatch(value):
            raise UserError(f'{key}: YAML takes {value} for text. Write !!float {value}, or a decimal point: 1.0e-3.')
    _check_required(options)
    _check_names(options)
    _check_paths(options)
    _check_machine(options)


def _check_required(options: Mapping[str, Any]) -> None:
    phases = [name.split('_')[0] for name in options['datasets']]
    if options['is_train']:
        for key in NEEDED_TO_TRAIN:
            _need(options, key)
        for name, phase in zip(options['datasets'], phases, strict=True):
            if phase not in ('train', 'val') or (phase == 'train' and name != 'train'):
                raise UserError(f'datasets.{name}: to train, a data set is called train, val or val_something.')
        if options.get('val') is not None:
            _need(options, 'val.val_freq')
            _need(options, 'val.save_img')
    elif _need(options, 'val.save_img'):
        _need(options, 'val.suffix', 'It may be empty: ~.')
    for name in options['datasets']:
        for key in NEEDED_BY_DATASET:
            _need(options, f'datasets.{name}.{key}')


def _check_names(options: Mapping[str, Any]) -> None:
    _known(registry.MODEL_REGISTRY, 'model_type', options['model_type'])
    for name, dataset in options['datasets'].items():
        _known(registry.DATASET_REGISTRY, f'datasets.{name}.type', dataset['type'])
    for name, network in options.items():
        if name.startswith('network_'):
            _check_call(registry.ARCH_REGISTRY, name, network)
    for name, part in (options.get('train') or {}).items():
        if name.endswith('_opt') and part:
            _check_call(registry.LOSS_REGISTRY, f'train.{name}', part)
    if options['is_train']:
        _check_optimization(options)
    for name, metric in ((options.get('val') or {}).get('metrics') or {}).items():
        _need(options, f'val.metrics.{name}.type')
        _known(registry.METRIC_REGISTRY, f'val.metrics.{name}.type', metric['type'])


def _check_paths(options: Mapping[str, Any]) -> None:
    for name, dataset in options['datasets'].items():
        for key, value in dataset.items():
            if key.startswith('dataroot') and isinstance(value, str) and not Path(value).exists():
                raise UserError(
                    f'datasets.{name}.{key}: there is no folder {os.path.abspath(value)}. '
                    'Put the data there, or correct the path in the option file.'
                )
    for key, value in options['path'].items():
        if not PATH_KEYS.fullmatch(key) and key not in COMPUTED_PATHS:
            raise UserError(f'path.{key}: unknown key{nearest(key, ["pretrain_network_g", "resume_state"])}.')
        if value is not None and key.startswith(('pretrain_network', 'resume_state')) and not Path(value).is_file():
            raise UserError(f'path.{key}: there is no file {os.path.abspath(value)}.')


def _check_machine(options: Mapping[str, Any]) -> None:
    wanted, present = options['num_gpu'], torch.cuda.device_count()
    if not options['dist'] and int(os.environ.get('WORLD_SIZE', 1)) > 1:
        raise UserError(f'{os.environ["WORLD_SIZE"]} processes were started for one run: add --launcher pytorch.')
    if wanted != 0 and (present == 0 or (not options['dist'] and wanted > present)):
        raise UserError(f'num_gpu: {wanted}, but this machine has {present}. Write num_gpu: auto, or 0 to use the CPU.')
    if wanted == 0 and (options['datasets'].get('train') or {}).get('prefetch_mode') == 'cuda':
        raise UserError('datasets.train.prefetch_mode: cuda needs a GPU. Write prefetch_mode: cpu, or leave it out.')
    if (options.get('logger') or {}).get('use_tb_logger') and importlib.util.find_spec('tensorboard') is None:
        raise UserError('logger.use_tb_logger: TensorBoard is not installed. Try: pip install tensorboard')


def _need(options: Mapping[str, Any], dotted: str, hint: str = 'Add it.') -> Any:
    """The value of a key that must be there, even if it is empty."""
    part: Any = options
    for key in dotted.split('.'):
        if not isinstance(part, Mapping) or key not in part:
            similar = difflib.get_close_matches(key, part, n=1) if isinstance(part, Mapping) else []
            instead = f', only {similar[0]}' if similar else ''
            raise UserError(f'The option file has no key {dotted}{instead}. {hint}')
        part = part[key]
    return part


def _values(options: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _values(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _known(names: registry.Registry, where: str, name: Any) -> Any:
    """The registered object of that name."""
    for registered in (name, f'{name}_basicsr'):
        if registered in names:
            return names.get(registered)
    raise UserError(f'{where}: nothing is registered under the name {name!r}{nearest(str(name), names.keys())}.')


def _check_call(names: registry.Registry, where: str, part: Any) -> None:
    """Check a part of the options whose `type` names a class and whose other keys are the arguments of that class."""
    if not isinstance(part, Mapping) or part.get('type') is None:
        raise UserError(f'{where}.type is missing: it names the class.')
    _check_arguments(_known(names, f'{where}.type', part['type']), where, part)


def _check_optimization(options: Mapping[str, Any]) -> None:
    """Check what the toolbox makes its optimizers and its scheduler from. A model with its own checks them itself."""
    model, train = registry.MODEL_REGISTRY.get(options['model_type']), options['train']
    if model.setup_optimizers.__module__.startswith('basicsr.'):
        for name in train:
            if name.startswith('optim_'):
                kind = _one_of(OPTIMIZERS, f'train.{name}', train[name])
                _check_arguments(getattr(torch.optim, kind), f'train.{name}', {'params': None, **train[name]})
    if model.setup_schedulers is BaseModel.setup_schedulers:
        scheduler = _need(options, 'train.scheduler')
        kind = _one_of(SCHEDULERS, 'train.scheduler', scheduler)
        _check_arguments(SCHEDULERS[kind], 'train.scheduler', {'optimizer': None, **scheduler})
        # After its last period the toolbox's cosine schedule has no value: the training would end with a TypeError.
        if sum(scheduler.get('periods', [train['total_iter']])) < train['total_iter']:
            raise UserError(
                f'train.scheduler.periods: they add up to {sum(scheduler["periods"])} iterations, but train.total_iter '
                f'is {train["total_iter"]}.'
            )


def _one_of(kinds: Collection[str], where: str, part: Any) -> str:
    kind = part.get('type') if isinstance(part, Mapping) else None
    if kind not in kinds:
        raise UserError(f'{where}.type: expected one of {", ".join(kinds)}, got {kind!r}.')
    return kind


def _check_arguments(function: Callable[..., Any], where: str, part: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for key in part:
            if key != 'type' and key not in names:
                raise UserError(f'{where}.{key}: {part["type"]} has no such parameter{nearest(key, names)}.')
    for p in parameters:
        if p.name in names and p.default is p.empty and p.name not in part:
            raise UserError(f'{where}.{p.name} is missing: {part["type"]} needs it.')
