"""Check the parts of an option file that name a class: model, data sets, networks, losses, optimizer, metrics."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils import registry

from deeprftv2_arch.errors import UserError
from deeprftv2_arch.option_keys import nearest
from deeprftv2_arch.options.check import Checker
from deeprftv2_arch.options.definitions import ANY_MODEL, DATASETS, FOREIGN_DATASET, METRIC, MODELS, SCHEDULER
from deeprftv2_arch.options.findings import KeyPath
from deeprftv2_arch.options.signatures import is_ours, signature_section
from deeprftv2_arch.toolbox import OPTIMIZERS

SCHEDULERS = {
    'MultiStepLR': MultiStepRestartLR,
    'MultiStepRestartLR': MultiStepRestartLR,
    'CosineAnnealingRestartLR': CosineAnnealingRestartLR,
}


def check_parts(checker: Checker) -> None:
    """Check every part of the options, first of all those that all others hang on."""
    options = checker.read.options
    model = _registered(checker, registry.MODEL_REGISTRY, ('model_type',), options.get('model_type'))
    sections = MODELS[model.__name__] if _is_defined(model, MODELS) else ANY_MODEL
    checker.check_section(options, (), sections[''])
    for name in ('path', 'train', 'val', 'logger'):
        # A test may have the options of the training, which it does not read.
        is_read = checker.is_train or name in ('path', 'val')
        if options.get(name) is not None and is_read:
            checker.check_section(options[name], (name,), sections[name])
    for name, data in (checker.value('datasets', kind=Mapping) or {}).items():
        _check_dataset(checker, str(name), data)
    for name, network in options.items():
        if str(name).startswith('network_') and isinstance(network, Mapping):
            _check_call(checker, registry.ARCH_REGISTRY, (str(name),), network)
    if checker.is_train:
        for name, part in (checker.value('train', kind=Mapping) or {}).items():
            is_loss = _is_defined(model, MODELS) or (isinstance(part, Mapping) and 'type' in part)
            if str(name).endswith('_opt') and part and is_loss:
                _check_call(checker, registry.LOSS_REGISTRY, ('train', str(name)), part)
        if model is not None:
            _check_optimization(checker, model)
    for name, metric in (checker.value('val', 'metrics', kind=Mapping) or {}).items():
        _check_metric(checker, ('val', 'metrics', str(name)), metric)


def _check_dataset(checker: Checker, name: str, data: Any) -> None:
    path = ('datasets', name)
    checker.known.add(path)
    if not isinstance(data, Mapping):
        checker.report(path, 'expected keys of its own: name, type, ...')
        return
    kind = _registered(checker, registry.DATASET_REGISTRY, (*path, 'type'), data.get('type'))
    section = DATASETS[kind.__name__] if _is_defined(kind, DATASETS) else FOREIGN_DATASET
    checker.check_section(data, path, section, trains=name == 'train')


def _check_call(checker: Checker, names: registry.Registry, path: KeyPath, part: Any) -> None:
    """Check a part whose `type` names a class and whose other keys are the arguments of that class."""
    if not isinstance(part, Mapping) or part.get('type') is None:
        checker.report((*path, 'type'), 'missing. It names the class.')
        return
    kind = _registered(checker, names, (*path, 'type'), part['type'])
    if kind is None:
        return
    before = len(checker.findings)
    checker.check_section(part, path, signature_section(kind, '.'.join(path)))
    if is_ours(kind) and len(checker.findings) == before:
        _check_construction(checker, kind, path, part)


def _check_construction(checker: Checker, kind: type, path: KeyPath, part: Mapping[str, Any]) -> None:
    """Have a class of ours look at its arguments: it is built without memory, and thrown away."""
    arguments = {key: value for key, value in part.items() if key != 'type'}
    try:
        with torch.device('meta'):
            kind(**arguments)
    except (UserError, ValueError, TypeError) as error:
        checker.report(path, f'{error}.' if not str(error).endswith('.') else str(error))


def _check_optimization(checker: Checker, model: type) -> None:
    """Check what optimizers and schedule are made from. A foreign model with its own ways checks them itself."""
    train, ours = checker.value('train', kind=Mapping) or {}, _is_defined(model, MODELS)
    if ours or model.setup_optimizers.__module__.startswith('basicsr.'):
        parts = {name: part for name, part in train.items() if str(name).startswith('optim_')}
        for name, part in parts.items():
            path = ('train', str(name))
            kind = _one_of(checker, OPTIMIZERS, path, part, default='AdamW' if ours else None)
            if kind is not None:
                section = signature_section(getattr(torch.optim, kind), '.'.join(path), given=('params',))
                checker.check_section({'type': kind, **part}, path, section)
                if 'lr' not in part and not (ours and kind == 'AdamW'):
                    checker.report((*path, 'lr'), f'missing. {kind} needs a learning rate.')
    if ours or model.setup_schedulers is BaseModel.setup_schedulers:
        path = ('train', 'scheduler')
        part = train.get('scheduler')
        if part is None and ours:
            return
        kinds = {'CosineAnnealingLR': None} if ours else {}
        kind = _one_of(checker, [*kinds, *SCHEDULERS], path, part, default=next(iter(kinds), None))
        if kind == 'CosineAnnealingLR':
            checker.check_section(part, path, SCHEDULER)
        elif kind is not None:
            checker.check_section(part, path, signature_section(SCHEDULERS[kind], 'train.scheduler', ('optimizer',)))


def _check_metric(checker: Checker, path: KeyPath, metric: Any) -> None:
    checker.known.add(path)
    checker.check_section(metric, path, METRIC)
    if not isinstance(metric, Mapping) or 'type' not in metric:
        return
    function = _registered(checker, registry.METRIC_REGISTRY, (*path, 'type'), metric['type'])
    if function is not None:
        arguments = {key: value for key, value in metric.items() if key != 'better'}
        checker.check_section(
            arguments, path, signature_section(function, '.'.join(path), given=('img', 'img2', 'better'))
        )


def _registered(checker: Checker, names: registry.Registry, path: KeyPath, name: Any) -> Any:
    """The registered object of that name; None, and a finding, if there is none."""
    if name is None:
        return None
    checker.known.add(path)
    for registered in (name, f'{name}_basicsr'):
        if isinstance(name, str) and registered in names:
            return names.get(registered)
    checker.report(path, f'nothing is registered under the name {name!r}{nearest(str(name), names.keys())}.')
    return None


def _one_of(checker: Checker, kinds: Collection[str], path: KeyPath, part: Any, default: str | None) -> str | None:
    """The `type` of a part, which must be one of a few; None, and a finding, if it is not."""
    kind = part.get('type', default) if isinstance(part, Mapping) else None
    if kind in kinds:
        return kind
    got = 'none' if kind is None else f'{kind!r}{nearest(str(kind), kinds)}'
    checker.report((*path, 'type'), f'expected one of {", ".join(kinds)}, got {got}.')
    return None


def _is_defined(kind: Any, sections: Mapping[str, Any]) -> bool:
    """Whether a class is one of ours whose keys are all known."""
    return kind is not None and is_ours(kind) and kind.__name__ in sections
