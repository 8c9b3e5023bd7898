"""The reference of all keys, `docs/options.md`, made from the definitions that check them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from deeprftv2_arch.config import schema as definitions
from deeprftv2_arch.config.catalogue import Catalogue, Entry
from deeprftv2_arch.config.keys import NONE_GIVEN, Key, Section, as_yaml
from deeprftv2_arch.config.signatures import signature_section

INTRODUCTION = """\
# Options

Every key of an option file that this package knows. `deeprftv2 options` prints this page, from the
definitions that check the files.

A file is checked before anything is built or written. All that is wrong is told at once, one line each, with file, line
and key, and the exit code is 2:

```
Error: options/train.yml:37: train.grad_clipp: unknown key for DeblurModel (did you mean 'grad_clip'?).
Error: options/train.yml:52: train.optim_g.lr: YAML takes 1e-3 for text. Write 1.0e-03; or '1e-3', if text is meant.
```

This comes before torch is imported: names and arguments are read off the source files of BasicSR and of this package.
A file in which nothing is wrong is checked once more, against what is registered when all is imported. Only that counts
where a source file imports a package that may register names of its own, as a plugin in a checkout of BasicSR does.

`deeprftv2 options FILE ...` checks files without starting anything.

Values are changed on the command line: `--set train.total_iter=1000 datasets.train.gt_size=128`. The value is YAML, an
entry of a list goes by its number: `train.stages.0.iterations=500`. BasicSR's form works too, and nothing of it is
executed: `--force_yml train:total_iter=1000`. The options of a run, with these changes, stand in its folder as
`resolved_options.yml`, beside the copy of the file.

Judged are the keys below and the arguments of whatever network, loss, metric, optimizer or schedule is named. Models
and data sets of BasicSR or of other plugins may read more keys; these are left to them.

**Bold** keys are needed: always, or to train (*train*) or to test (*test*). `~` is YAML's word for nothing."""


def reference(catalogue: Catalogue) -> str:
    """The whole page, in Markdown.

    Args:
        catalogue: Of the networks, losses and metrics.
    """
    return '\n\n'.join([INTRODUCTION, *_sections(catalogue)]) + '\n'


def _sections(catalogue: Catalogue) -> Iterator[str]:
    model = definitions.MODELS['DeblurModel']
    yield '## The whole file'
    yield _table(model[''])
    yield from _with_parts(definitions.DIST_PARAMS, 3)
    yield '## Data sets'
    yield from _with_parts(definitions.FOREIGN_DATASET, 3, 'any data set')
    for section in definitions.DATASETS.values():
        others = Section(section.where, _without(section, definitions.FOREIGN_DATASET), section.about, section.reader)
        yield from _with_parts(others, 3, f'`{section.reader}`')
    yield '## Model'
    yield 'The keys of `DeblurModel`.'
    for name in ('path', 'train'):
        yield from _with_parts(model[name], 3)
    yield from _with_parts(definitions.SCHEDULER, 3)
    for name in ('val', 'logger'):
        yield from _with_parts(model[name], 3)
    yield from _with_parts(definitions.METRIC, 3)
    for title, registry, given in (
        ('Networks', 'arch', ()),
        ('Losses', 'loss', ()),
        ('Metrics', 'metric', ('img', 'img2', 'better')),
    ):
        yield f'## {title}'
        yield f'Those of this package; the keys are the arguments. {_WHERE[title]}'
        for entry in entries_of_ours(catalogue, registry):
            section = signature_section(entry, f'`{entry.name}`', given)
            yield from _with_parts(Section(section.where, section.keys[1:], section.about), 3)


_WHERE = {
    'Networks': '`type` and arguments stand under `network_g`.',
    'Losses': '`type` and arguments stand under `train.pixel_opt`, `train.fft_opt` or `train.perceptual_opt`.',
    'Metrics': '`type` and arguments stand under `val.metrics`, below a name of your choice.',
}


def entries_of_ours(catalogue: Catalogue, registry: str) -> list[Entry]:
    """What this package registers, by name."""
    entries = (catalogue.find(registry, name) for name in sorted(catalogue.names(registry)))
    return [entry for entry in entries if entry.is_ours]


def _with_parts(section: Section, level: int, title: str = '') -> Iterator[str]:
    """A section, and after it those that are inside of it."""
    where = section.where if '`' in section.where else f'`{section.where}`'
    yield f'{"#" * level} {where}{f": {title}" if title else ""}'
    if section.about:
        yield _plain(section.about)
    if section.keys:
        yield _table(section)
    for key in section.keys:
        if key.section is not None:
            yield from _with_parts(key.section, level + 1)


def _table(section: Section) -> str:
    rows = ['| Key | Value | Default | Meaning |', '| --- | --- | --- | --- |']
    rows += [
        f'| {_name(key)} | {_cell(key.expected())} | {_default(key)} | {_cell(key.meaning)} |' for key in section.keys
    ]
    return '\n'.join(rows)


def _name(key: Key) -> str:
    needed = '' if key.needed in ('', 'always') else f' (*{key.needed}*)'
    return f'**`{key.name}`**{needed}' if key.needed else f'`{key.name}`'


def _default(key: Key) -> str:
    return '' if key.default is NONE_GIVEN else f'`{as_yaml(key.default)}`'


def _cell(text: str) -> str:
    return _plain(text).replace('|', '\\|')


def _plain(text: str) -> str:
    """Docstrings as Markdown, and None as YAML has it; roles such as :class:`~a.b.C` become `C`."""
    text = re.sub(r'\bNone\b', '`~`', text)
    return re.sub(r':\w+:`~?(?:\w+\.)*(\w+)`', r'`\1`', text).replace('``', '`')


def _without(section: Section, common: Section) -> tuple[Key, ...]:
    return tuple(key for key in section.keys if key.name not in common.names)
