"""What can be known to be wrong with an option file before a run touches the disk: everything at once.

BasicSR reads its options one by one while it runs: it archives the last experiment and makes new folders first,
stops with a KeyError later, and never sees a misspelt key.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from deeprftv2_arch.config.components import SCHEDULERS, Catalogue, Component, refusal
from deeprftv2_arch.config.options import KeyPath, Options, fields, problems
from deeprftv2_arch.config.problems import Problem
from deeprftv2_arch.config.schema import (
    OPTIMIZERS,
    CosineOptions,
    DatasetOptions,
    DeblurOptions,
    MetricOptions,
    RunOptions,
)
from deeprftv2_arch.config.yaml_file import OptionFile
from deeprftv2_arch.utils.suggest import nearest

MEANT = 0.8
"""Similarity from which a name that is not registered is taken for a misspelt one, and what it names is judged."""


_OF_ATD = {
    'in_chans': 'in_channels',
    'embed_dim': 'width',
    'num_heads': 'heads (one number)',
    'window_size': 'window',
    'category_size': 'group',
    'num_tokens': 'tokens',
    'reducted_dim': 'code_channels',
    'convffn_kernel_size': 'ffn_kernel',
    'mlp_ratio': 'ffn_ratio',
    'resi_connection': 'exit_convs (1 or 3)',
    'use_checkpoint': 'checkpointed',
    'img_size': '',
    'img_range': '',
    'patch_size': '',
    'qkv_bias': '',
    'norm_layer': '',
    'ape': '',
    'patch_norm': '',
}
PUBLISHED_ARGUMENTS = {'ATD': _OF_ATD, 'ATDFKE': _OF_ATD}
"""Arguments of published networks, and what they are called here; empty for what is not asked for."""


class Checker:
    """Collects what is wrong with one option file.

    Args:
        read: The file, with the values of the command line.
        is_train: Whether it is to train, or to test.
        catalogue: What it may name.
        early: Whether this comes before torch and BasicSR are imported; then nothing is asked of them.

    Attributes:
        problems: What is wrong.
        allowed: Keys without a declaration that may be there, and the names that have one beside each.
        explained: Keys about which all is said at the key around them.
        model: The class of the model, as it is or as it was probably meant; None for none.
        section: The declaration of the whole file.
    """

    def __init__(self, read: OptionFile, is_train: bool, catalogue: Catalogue, early: bool = False) -> None:
        self.read = read
        self.is_train = is_train
        self.catalogue = catalogue
        self.early = early
        self.problems: list[Problem] = list(read.problems)
        self.allowed: dict[KeyPath, Collection[str]] = {}
        self.explained: set[KeyPath] = set()
        self.model: Component | None = None
        self.section: type[Options] = RunOptions

    @property
    def is_deblur(self) -> bool:
        """Whether the model is a `DeblurModel`, so that all that it reads is known."""
        return issubclass(self.section, DeblurOptions)

    def report(self, path: KeyPath, message: str) -> None:
        """Add a problem, unless something else is wrong with the same key."""
        if not self.is_wrong(path) and path not in self.explained:
            self.problems.append(self.read.problem(path, message))

    def warn(self, path: KeyPath, message: str) -> None:
        """Note what may be meant, but likely is not."""
        self.read.warnings.append(self.read.problem(path, message))

    def is_wrong(self, path: KeyPath) -> bool:
        """Whether a problem was found at a key."""
        return any(problem.path == path for problem in self.problems)

    def value(self, *path: str, kind: Any = object) -> Any:
        """The value of a key if it is there, of that class, and nothing is wrong with it; else None."""
        part: Any = self.read.options
        for key in path:
            if not isinstance(part, Mapping):
                return None
            part = part.get(key)
        return part if isinstance(part, kind) and not self.is_wrong(path) else None

    def check_sections(self) -> None:
        """Check every section, first of all the name of the model, for it decides what the others may hold."""
        options = self.read.options
        self.model = self._registered('model', ('model_type',), options.get('model_type'))
        if self.model is not None:
            self.section = self.model.section(RunOptions)
        unread = () if self.is_train else ('train', 'logger')  # a test may have them from the training
        part = {key: value for key, value in options.items() if key not in unread}
        self._check_section(self.section, part, (), reader=self._reader(self.model))
        for name, data in (self.value('datasets', kind=Mapping) or {}).items():
            self._check_dataset(('datasets', str(name)), data)
        for name, network in options.items():
            if str(name).startswith('network_') and isinstance(network, Mapping):
                self._check_call('arch', (str(name),), network)
        if self.is_train:
            self._check_training()
        for name, metric in (self.value('val', 'metrics', kind=Mapping) or {}).items():
            self._check_metric(('val', 'metrics', str(name)), metric)

    def check_new_keys(self) -> None:
        """Warn of keys that only the command line has and that have no declaration: they may be misspelt."""
        for path, place in self.read.new.items():
            beside = [names for key, names in self.allowed.items() if path[: len(key)] == key]
            overlap = any(path[: len(p.path)] == p.path[: len(path)] for p in self.problems if p.path)
            if beside and not overlap:
                siblings = {str(key) for key in self.value(*path[:-1], kind=Mapping) or {}} - {path[-1]}
                message = f'the option file has no such key{nearest(path[-1], siblings.union(*beside))}.'
                self.read.warnings.append(Problem(path, message, place))

    def _check_section(
        self, section: type[Options], part: Any, path: KeyPath, *, reader: str = '', run: str = ''
    ) -> None:
        run = run or ('train' if self.is_train else 'test')
        for place in (path, *((*path, name) for name in fields(section))):
            self.allowed.pop(place, None)  # unknown to a section around it, or to another one of the same part
        for place, message in problems(section, part, path, reader=reader, run=run, allowed=self.allowed):
            self.report(place, message)

    def _reader(self, component: Component | None) -> str:
        return component.name if component is not None and component.options else ''

    def _check_dataset(self, path: KeyPath, data: Any) -> None:
        if not isinstance(data, Mapping):
            self.report(path, 'expected keys of its own: name, type, ...')
            return
        kind = self._registered('dataset', (*path, 'type'), data.get('type'))
        section = DatasetOptions if kind is None else kind.section(DatasetOptions)
        is_staged = self.is_deblur and (self.value('train', kind=Mapping) or {}).get('stages') is not None
        trains = self.is_train and path[-1] == 'train'
        run = ('staged' if is_staged else 'train') if trains else 'test'
        self._check_section(section, data, path, reader=self._reader(kind), run=run)

    def _check_call(self, registry: str, path: KeyPath, part: Any) -> None:
        """Check a part whose `type` names a class and whose other keys are the arguments of that class."""
        if not isinstance(part, Mapping) or part.get('type') is None:
            self.report((*path, 'type'), 'missing. It names the class.')
            return
        kind = self._registered(registry, (*path, 'type'), part['type'])
        if kind is None:
            return
        before = len(self.problems)
        if kind.is_ours and kind.name in PUBLISHED_ARGUMENTS:
            self._check_published_names(kind, part, path)
        self._check_arguments(kind, part, path)
        if kind.is_ours and len(self.problems) == before and not self.early:
            message = refusal(kind, {key: value for key, value in part.items() if key != 'type'})
            if message:
                self.report(path, message if message.endswith('.') else f'{message}.')

    def _check_published_names(self, kind: Component, part: Mapping[str, Any], path: KeyPath) -> None:
        """Say once, for all of them, that a part has the argument names of the published code, and what ours are."""
        names = PUBLISHED_ARGUMENTS[kind.name]
        given = [key for key in part if key in names]
        if not given:
            return
        renamed = ', '.join(f'{key} is {names[key]}' for key in given if names[key])
        gone = ', '.join(key for key in given if not names[key])
        message = f'these are the argument names of the published {kind.name}. Here {renamed or "they differ"}'
        self.report(path, f'{message}; remove {gone}.' if gone else f'{message}.')
        for key in given:
            self.explained.add((*path, key))

    def _check_arguments(self, kind: Component, part: Any, path: KeyPath, given: Collection[str] = ()) -> None:
        self._check_section(kind.arguments_section(given), part, path, reader=kind.name)

    def _check_training(self) -> None:
        """Check losses, optimizers and the schedule."""
        train = self.value('train', kind=Mapping) or {}
        for name, part in train.items():
            path = ('train', str(name))
            is_loss = self.is_deblur or (isinstance(part, Mapping) and 'type' in part)
            if path[-1].endswith('_opt') and part and is_loss:
                self._check_call('loss', path, part)
            # A foreign model with a way of its own to make optimizers checks them itself.
            if path[-1].startswith('optim_') and (
                self.is_deblur or self.method_from('setup_optimizers').startswith('basicsr.')
            ):
                self._check_optimizer(path, part)
        scheduler = train.get('scheduler')
        if self.is_deblur:
            if scheduler is not None:
                self._check_schedule(scheduler, ['CosineAnnealingLR', *SCHEDULERS], 'CosineAnnealingLR')
        elif self.method_from('setup_schedulers') == 'basicsr.models.base_model':
            self._check_schedule(scheduler, list(SCHEDULERS), None)

    def method_from(self, method: str) -> str:
        """The module of the class that the model has a method from; empty if it has none."""
        return '' if self.model is None else self.model.sets_up.get(method, '')

    def _check_optimizer(self, path: KeyPath, part: Any) -> None:
        if part is None and self.is_deblur:
            return
        name = self._one_of(OPTIMIZERS, path, part, default='AdamW' if self.is_deblur else None)
        if name is not None:
            self._check_arguments(self.catalogue['optimizer'][name], {'type': name, **part}, path, given=('params',))
            if 'lr' not in part and not (self.is_deblur and name == 'AdamW'):
                self.report((*path, 'lr'), f'missing. {name} needs a learning rate.')

    def _check_schedule(self, part: Any, choices: list[str], default: str | None) -> None:
        path = ('train', 'scheduler')
        name = self._one_of(choices, path, part, default)
        if name == 'CosineAnnealingLR':
            self._check_section(CosineOptions, part, path, reader=name)
        elif name is not None:
            self._check_arguments(self.catalogue['scheduler'][name], part, path, given=('optimizer',))

    def _check_metric(self, path: KeyPath, metric: Any) -> None:
        self._check_section(MetricOptions, metric, path)
        if not isinstance(metric, Mapping) or 'type' not in metric:
            return
        function = self._registered('metric', (*path, 'type'), metric['type'])
        if function is not None:
            arguments = {key: value for key, value in metric.items() if key != 'better'}
            self._check_arguments(function, arguments, path, given=('img', 'img2', 'better'))

    def _registered(self, registry: str, path: KeyPath, name: Any) -> Component | None:
        """Find what is registered under a name.

        Returns:
            The class; if there is none, what was probably meant, or None, and a problem is reported.
        """
        if name is None:
            return None
        names = self.catalogue[registry]
        for key in (name, f'{name}_basicsr') if isinstance(name, str) else ():
            if key in names:
                return names[key]
        self.report(path, f'nothing is registered under the name {name!r}{nearest(name, names)}.')
        meant = difflib.get_close_matches(str(name), sorted(names), n=1, cutoff=MEANT)
        return names[meant[0]] if meant else None

    def _one_of(self, choices: Collection[str], path: KeyPath, part: Any, default: str | None) -> str | None:
        """Read the `type` of a part, which must be one of a few; None, and a problem, if it is not."""
        name = part.get('type', default) if isinstance(part, Mapping) else None
        if name in choices:
            return name
        got = 'none' if name is None else f'{name!r}{nearest(name, choices)}'
        self.report((*path, 'type'), f'expected one of {", ".join(choices)}, got {got}.')
        return None


def losses(section: type[Options]) -> list[str]:
    """The keys under which a training has its losses."""
    return [name for name in fields(section) if name.endswith('_opt')]
