"""Check the parts of an option file that name a class: model, data sets, networks, losses, optimizer, metrics."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from deeprftv2_arch.config.catalogue import Entry
from deeprftv2_arch.config.checker import Checker
from deeprftv2_arch.config.problems import KeyPath
from deeprftv2_arch.config.schema import (
    ANY_MODEL,
    DATASETS,
    FOREIGN_DATASET,
    METRIC,
    MODELS,
    OPTIMIZERS,
    SCHEDULER,
)
from deeprftv2_arch.config.signatures import signature_section
from deeprftv2_arch.utils.suggest import nearest

SCHEDULERS = {
    'MultiStepLR': 'MultiStepRestartLR',
    'MultiStepRestartLR': 'MultiStepRestartLR',
    'CosineAnnealingRestartLR': 'CosineAnnealingRestartLR',
}
"""Schedules of BasicSR, and the classes behind them."""

BASE_MODEL = 'basicsr.models.base_model.BaseModel'

MEANT = 0.8
"""Similarity from which a name that is not registered is taken for a misspelt one, and what it names is judged."""


def check_parts(checker: Checker) -> None:
    """Check every part of the options, first of all those that all others hang on."""
    options = checker.read.options
    model = _registered(checker, 'model', ('model_type',), options.get('model_type'))
    is_ours = _is_defined(model, MODELS)
    checker.model = '' if model is None else model.name
    sections = MODELS[model.name] if is_ours else ANY_MODEL
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
            _check_call(checker, 'arch', (str(name),), network)
    if checker.is_train:
        for name, part in (checker.value('train', kind=Mapping) or {}).items():
            is_loss = is_ours or (isinstance(part, Mapping) and 'type' in part)
            if str(name).endswith('_opt') and part and is_loss:
                _check_call(checker, 'loss', ('train', str(name)), part)
        if model is not None:
            _check_optimizers(checker, model)
            _check_schedule(checker, model)
    for name, metric in (checker.value('val', 'metrics', kind=Mapping) or {}).items():
        _check_metric(checker, ('val', 'metrics', str(name)), metric)


def _check_dataset(checker: Checker, name: str, data: Any) -> None:
    path = ('datasets', name)
    checker.known.add(path)
    if not isinstance(data, Mapping):
        checker.report(path, 'expected keys of its own: name, type, ...')
        return
    kind = _registered(checker, 'dataset', (*path, 'type'), data.get('type'))
    section = DATASETS[kind.name] if _is_defined(kind, DATASETS) else FOREIGN_DATASET
    checker.check_section(data, path, section, trains=name == 'train')


def _check_call(checker: Checker, registry: str, path: KeyPath, part: Any) -> None:
    """Check a part whose `type` names a class and whose other keys are the arguments of that class."""
    if not isinstance(part, Mapping) or part.get('type') is None:
        checker.report((*path, 'type'), 'missing. It names the class.')
        return
    kind = _registered(checker, registry, (*path, 'type'), part['type'])
    if kind is None:
        return
    before = len(checker.findings)
    checker.check_section(part, path, signature_section(kind, '.'.join(path)))
    if kind.is_ours and len(checker.findings) == before:
        refusal = checker.catalogue.refusal(kind, {key: value for key, value in part.items() if key != 'type'})
        if refusal:
            checker.report(path, refusal if refusal.endswith('.') else f'{refusal}.')


def _check_optimizers(checker: Checker, model: Entry) -> None:
    """Check what optimizers are made from. A foreign model with its own ways checks them itself."""
    is_ours = _is_defined(model, MODELS)
    if not is_ours and not checker.catalogue.definer(model, 'setup_optimizers').startswith('basicsr.'):
        return
    train = checker.value('train', kind=Mapping) or {}
    for name, part in ((name, part) for name, part in train.items() if str(name).startswith('optim_')):
        path = ('train', str(name))
        kind = _one_of(checker, OPTIMIZERS, path, part, default='AdamW' if is_ours else None)
        if kind is not None:
            section = signature_section(checker.catalogue.optimizer(kind), '.'.join(path), given=('params',))
            checker.check_section({'type': kind, **part}, path, section)
            if 'lr' not in part and not (is_ours and kind == 'AdamW'):
                checker.report((*path, 'lr'), f'missing. {kind} needs a learning rate.')


def _check_schedule(checker: Checker, model: Entry) -> None:
    path, is_ours = ('train', 'scheduler'), _is_defined(model, MODELS)
    part = (checker.value('train', kind=Mapping) or {}).get('scheduler')
    if part is None and is_ours:
        return
    if not is_ours and checker.catalogue.definer(model, 'setup_schedulers') != BASE_MODEL:
        return
    kinds = ['CosineAnnealingLR'] if is_ours else []
    kind = _one_of(checker, [*kinds, *SCHEDULERS], path, part, default=next(iter(kinds), None))
    if kind == 'CosineAnnealingLR':
        checker.check_section(part, path, SCHEDULER)
    elif kind is not None:
        schedule = checker.catalogue.scheduler(SCHEDULERS[kind])
        checker.check_section(part, path, signature_section(schedule, 'train.scheduler', ('optimizer',)))


def _check_metric(checker: Checker, path: KeyPath, metric: Any) -> None:
    checker.known.add(path)
    checker.check_section(metric, path, METRIC)
    if not isinstance(metric, Mapping) or 'type' not in metric:
        return
    function = _registered(checker, 'metric', (*path, 'type'), metric['type'])
    if function is not None:
        arguments = {key: value for key, value in metric.items() if key != 'better'}
        checker.check_section(
            arguments, path, signature_section(function, '.'.join(path), given=('img', 'img2', 'better'))
        )


def _registered(checker: Checker, registry: str, path: KeyPath, name: Any) -> Entry | None:
    """What is registered under a name. If there is nothing a finding, and what was probably meant, or None."""
    if name is None:
        return None
    checker.known.add(path)
    for registered in (name, f'{name}_basicsr') if isinstance(name, str) else ():
        entry = checker.catalogue.find(registry, registered)
        if entry is not None:
            return entry
    names = checker.catalogue.names(registry)
    checker.report(path, f'nothing is registered under the name {name!r}{nearest(str(name), names)}.')
    meant = difflib.get_close_matches(str(name), sorted(names), n=1, cutoff=MEANT)
    return checker.catalogue.find(registry, meant[0]) if meant else None


def _one_of(checker: Checker, kinds: Collection[str], path: KeyPath, part: Any, default: str | None) -> str | None:
    """The `type` of a part, which must be one of a few; None, and a finding, if it is not."""
    kind = part.get('type', default) if isinstance(part, Mapping) else None
    if kind in kinds:
        return kind
    got = 'none' if kind is None else f'{kind!r}{nearest(str(kind), kinds)}'
    checker.report((*path, 'type'), f'expected one of {", ".join(kinds)}, got {got}.')
    return None


def _is_defined(kind: Entry | None, sections: Mapping[str, Any]) -> bool:
    """Whether a class is one of ours whose keys are all known."""
    return kind is not None and kind.is_ours and kind.name in sections
