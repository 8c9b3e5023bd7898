"""The defaults that the definitions state are those with which keys are read, by our classes and by BasicSR."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from basicsr.utils import dist_util
from processes import ROOT

from deeprftv2_arch.basicsr_compat.patches import distributed as processes
from deeprftv2_arch.config import schema as definitions
from deeprftv2_arch.config.keys import NONE_GIVEN, Key, Section
from deeprftv2_arch.config.stages import read_stages
from deeprftv2_arch.data import paired_dataset
from deeprftv2_arch.models.deblur_model import LOSSES
from deeprftv2_arch.models.precision import Precision

MODULES = [
    'deeprftv2_arch.' + file.relative_to(ROOT / 'deeprftv2_arch').with_suffix('').as_posix().replace('/', '.')
    for folder in ('', 'data', 'models', 'BasicSR')
    for file in sorted((ROOT / 'deeprftv2_arch' / folder).glob('[!_]*.py'))
    if folder or file.stem in ('stages', 'option_keys')
]
MODULES += [
    f'basicsr.{name}'
    for name in ('train', 'data', 'models.base_model', 'models.sr_model', 'utils.options', 'utils.logger', 'utils.misc')
]
"""What reads option files."""


class Reading(NamedTuple):
    """A place that reads a key and says what holds where it is absent.

    Attributes:
        place: Module and line.
        section: The section, where the place names it: `opt['val'].get('pbar')`.
        key: The key.
        default: What holds.
    """

    place: str
    section: str
    key: str
    default: Any


def readings(name: str) -> Iterator[Reading]:
    """All of a module: `x.get('key', 3)`, `x.get('key')`, and `{'key': 3, **x}`, which `x` goes over."""
    module = importlib.import_module(name)
    for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding='utf-8'))):
        pairs, section = [], ''
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == 'get'
            and node.args
        ):
            owner = node.func.value
            section = owner.slice.value if isinstance(owner, ast.Subscript) and is_text(owner.slice) else ''
            pairs = [(node.args[0], node.args[1] if len(node.args) > 1 else ast.Constant(None))]
        elif isinstance(node, ast.Dict) and None in node.keys:
            pairs = [(key, value) for key, value in zip(node.keys, node.values, strict=True) if key is not None]
        for key, value in pairs:
            if is_text(key) and is_plain(value, module):
                yield Reading(f'{name}, line {node.lineno}', section, key.value, plain(value, module))


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_plain(node: ast.expr, module: ModuleType) -> bool:
    if isinstance(node, ast.Name):
        return hasattr(module, node.id)
    return not any(isinstance(part, ast.Name | ast.Call | ast.Subscript) for part in ast.walk(node))


def plain(node: ast.expr, module: ModuleType) -> Any:
    return getattr(module, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)


READINGS = [reading for name in MODULES for reading in readings(name)]


def stated() -> Iterator[tuple[str, tuple[Section, Key]]]:
    """All keys whose definition states a default."""
    tops = [value for value in vars(definitions).values() if isinstance(value, Section)]
    tops += [section for parts in (definitions.ANY_MODEL, *definitions.MODELS.values()) for section in parts.values()]
    while tops:
        section = tops.pop()
        tops += [key.section for key in section.keys if key.section is not None]
        yield from (
            (f'{section.where}.{key.name}', (section, key)) for key in section.keys if key.default is not NONE_GIVEN
        )


STATED = dict(sorted(stated(), key=lambda item: bool(item[1][0].reader)))
"""By place; of two sections for the same place that of our class."""


def default(where: str) -> Any:
    """What the definitions state."""
    return STATED[where][1].default


READ_IN_ANOTHER_WAY = {
    *('train.tf32', 'train.channels_last', 'train.compile', 'val.tf32', 'val.channels_last', 'val.compile'),
    *('dist_params.backend', 'dist_params.port'),
    *('datasets.NAME.augmentation', 'datasets.NAME.use_shuffle'),
    *('train.scheduler.type', 'datasets.NAME.io_backend.type', 'train.accumulate', 'train.fft_opt'),
}
"""Keys of the tests below the first one, and `use_shuffle`, which nothing reads."""


def same(stated: Any, read: Any) -> bool:
    """Whether two defaults mean the same; a flag that is read without a default is off."""
    return read == stated or (read is None and stated is False)


@pytest.mark.parametrize('where', sorted(set(STATED) - READ_IN_ANOTHER_WAY))
def test_default(where):
    section, key = STATED[where]
    found = [
        reading
        for reading in READINGS
        if section.find(reading.key) is key and reading.section in ('', *where.split('.'))
    ]
    assert found, f'no reading of {where} was found: if it is read in another way, test that here'
    wrong = [f'{reading.place}: {reading.default!r}' for reading in found if not same(key.default, reading.default)]
    assert not wrong, f'{where} has the default {key.default!r} in the definitions; {wrong}'


def test_defaults_of_precision():
    fields = {field.name: field.default for field in dataclasses.fields(Precision)}
    for section in ('train', 'val'):
        for name in ('tf32', 'channels_last', 'compile'):
            assert default(f'{section}.{name}') is fields[name]


def test_defaults_of_several_processes():
    assert default('dist_params.backend') == inspect.signature(dist_util.init_dist).parameters['backend'].default
    assert default('dist_params.port') == processes.SLURM_PORT


def test_defaults_of_data_sets():
    augmentation = default('datasets.NAME.augmentation')
    given = paired_dataset._symmetries({'augmentation': augmentation}, training=True, where='')
    assert paired_dataset._symmetries({}, training=True, where='') == given
    backends = [reading.default for reading in READINGS if reading.key == 'io_backend' and 'paired' in reading.place]
    assert backends == [None]


def test_defaults_of_steps_and_losses():
    options = {'train': {'total_iter': 4}, 'datasets': {'train': {'batch_size_per_gpu': 2}}}
    given = {**options, 'train': {'total_iter': 4, 'accumulate': default('train.accumulate')}}
    assert read_stages(options) == read_stages(given)
    losses = {key.name for key in definitions.DEBLUR_TRAIN.keys if key.name.endswith('_opt')}
    assert losses == set(LOSSES)  # of which the model reads each by `get`
    assert [default(f'train.{name}') for name in losses] == [None] * len(losses)


def test_default_of_the_schedule():
    made = [reading.default for reading in READINGS if reading.key == 'type' and 'optimization' in reading.place]
    assert default('train.scheduler.type') in made
