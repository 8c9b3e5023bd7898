"""The reference of all keys, `docs/options.md`, and the JSON schema for editors, made from the declared sections."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from deeprftv2_arch.config.components import Catalogue, Component
from deeprftv2_arch.config.options import Options, detail, fields, nested, schemas, words
from deeprftv2_arch.config.schema import CosineOptions, DatasetOptions, DeblurOptions, MetricOptions
from deeprftv2_arch.config.value_types import as_yaml

INTRODUCTION = Path(__file__).with_name('introduction.md')
"""The head of the page."""

KINDS = {
    'arch': ('Networks', '`type` and arguments stand under `network_g`.', ()),
    'loss': (
        'Losses',
        '`type` and arguments stand under `train.pixel_opt`, `train.fft_opt` or `train.perceptual_opt`.',
        (),
    ),
    'metric': (
        'Metrics',
        '`type` and arguments stand under `val.metrics`, below a name of your choice.',
        ('img', 'img2', 'better'),
    ),
}
"""Title, place and arguments that are given from elsewhere, of what has its arguments for keys."""


def reference(catalogue: Catalogue) -> str:
    """Write the whole page, in Markdown.

    Args:
        catalogue: What is registered.
    """
    return '\n\n'.join([INTRODUCTION.read_text(encoding='utf-8').rstrip(), *_sections(catalogue)]) + '\n'


def ours(catalogue: Catalogue, kind: str) -> list[Component]:
    """What this package registers, by name."""
    known = sorted(catalogue[kind].items())
    return [component for _, component in known if component.is_ours]


def _sections(catalogue: Catalogue) -> Iterator[str]:
    yield '## The whole file'
    yield _table(DeblurOptions)
    yield from _with_nested(DeblurOptions, '', 3, only=['dist_params'])
    yield '## Data sets'
    yield from _section(DatasetOptions, '`datasets.NAME`: any data set', 'datasets.NAME', 3)
    for data in ours(catalogue, 'dataset'):
        section = data.section(DatasetOptions)
        yield from _section(section, f'`datasets.NAME`: `{data.name}`', 'datasets.NAME', 3, fields(DatasetOptions))
    yield '## Model'
    yield 'The keys of `DeblurModel`.'
    yield from _with_nested(DeblurOptions, '', 3, only=['path', 'train'])
    yield from _section(CosineOptions, '`train.scheduler`', 'train.scheduler', 3)
    yield from _with_nested(DeblurOptions, '', 3, only=['val', 'logger'])
    yield from _section(MetricOptions, '`val.metrics.NAME`', 'val.metrics.NAME', 3)
    for kind, (title, place, given) in KINDS.items():
        yield f'## {title}'
        yield f'Those of this package; the keys are the arguments. {place}'
        for component in ours(catalogue, kind):
            yield from _section(component.arguments_section(given), f'`{component.name}`', '', 3, ['type'])


def _section(
    section: type[Options], title: str, where: str, level: int, without: Collection[str] = ()
) -> Iterator[str]:
    yield f'{"#" * level} {title}'
    about = ' '.join((section.__doc__ or '').split())
    if about:
        yield _plain(about)
    if set(fields(section)) - set(without):
        yield _table(section, without)
    yield from _with_nested(section, where, level + 1)


def _with_nested(section: type[Options], where: str, level: int, only: Collection[str] = ()) -> Iterator[str]:
    """The sections inside of a section, or some of them."""
    for name, field in fields(section).items():
        inside = nested(field)
        if inside is not None and (name in only or (where and not only)):
            place = f'{where}.{name}' if where else name
            entry = '[N]' if 'list[' in str(field.annotation) else ''
            yield from _section(inside, f'`{place}{entry}`', place, level)


def _table(section: type[Options], without: Collection[str] = ()) -> str:
    rows = ['| Key | Value | Default | Meaning |', '| --- | --- | --- | --- |']
    values = schemas(section)
    for name, field in fields(section).items():
        if name not in without:
            needed = detail(field, 'needed')
            mark = ' **↺**' if detail(field, 'may_change') is True else ''
            meaning = _plain(field.description or '').replace('|', '\\|')
            default = '' if field.is_required() or needed else _default(field.default, values[name])
            rows.append(f'| {_name(name, needed)} | {_plain(words(values[name]))} | {default} | {meaning}{mark} |')
    return '\n'.join(rows)


def _name(name: str, needed: str) -> str:
    if not needed:
        return f'`{name}`'
    run = {'train': ' (*train*)', 'unstaged': ' (*train*)', 'test': ' (*test*)'}.get(needed, '')
    return f'**`{name}`**{run}'


def _default(value: Any, schema: dict[str, Any]) -> str:
    takes_none = {'type': 'null'} in schema.get('anyOf', [])
    return f'`{as_yaml(value)}`' if takes_none or value not in (None, {}) else ''


def _plain(text: str) -> str:
    """Docstrings as Markdown, and None as YAML has it; roles such as :class:`~a.b.C` become `C`."""
    text = re.sub(r'\bNone\b', '`~`', text)
    return re.sub(r':\w+:`~?(?:\w+\.)*(\w+)`', r'`\1`', text).replace('``', '`')


def editor_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The JSON schema of an option file of a `DeblurModel`.

    Args:
        catalogue: What is registered.
    """
    schema = DeblurOptions.model_json_schema()
    train = schema['$defs']['DeblurTrainOptions']['properties']
    schema['properties']['network_g'] |= _choice(catalogue, 'arch')
    for loss in ('pixel_opt', 'fft_opt', 'perceptual_opt'):
        train[loss]['anyOf'][0] |= _choice(catalogue, 'loss')
    metrics = schema['$defs']['DeblurValOptions']['properties']['metrics']
    metrics['anyOf'][0]['additionalProperties'] = _choice(catalogue, 'metric')
    schema['properties']['datasets']['additionalProperties'] = _choice(catalogue, 'dataset')
    return schema


def _choice(catalogue: Catalogue, kind: str) -> dict[str, Any]:
    """The schema of a part whose `type` names a class, and of ours the keys that go with each."""
    rules = []
    for component in ours(catalogue, kind):
        given = KINDS[kind][2] if kind in KINDS else ()
        section = component.arguments_section(given) if kind in KINDS else component.section(DatasetOptions)
        properties = schemas(section) | {'type': {'const': component.name}}
        if kind == 'metric':
            properties |= schemas(MetricOptions)
        named = {'properties': {'type': {'const': component.name}}}
        rules.append({'if': named, 'then': {'properties': properties, 'additionalProperties': False}})
    return {'type': 'object', 'properties': {'type': {'enum': sorted(catalogue[kind])}}, 'allOf': rules}
