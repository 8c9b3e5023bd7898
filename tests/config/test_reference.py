"""The definitions, the reference made from them, and the code that reads the keys: all three agree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ROOT, python

from deeprftv2_arch.cli import check_options as command
from deeprftv2_arch.config import schema as definitions
from deeprftv2_arch.config.keys import NONE_GIVEN, Key, Section
from deeprftv2_arch.config.reference import entries_of_ours, reference
from deeprftv2_arch.config.registries import Registries
from deeprftv2_arch.config.signatures import signature_section

REGISTRIES = Registries()

NOT_OPTIONS = {
    *('lq', 'gt', 'result', 'lq_path', 'gt_path', 'pad', 'img', 'img2'),  # of a batch
    *('iter', 'epoch', 'options', 'random', 'bad_steps', 'in_a_row', 'total', 'best_metric_results'),  # of a state
    *('params', 'params_ema', 'data', 'metric', 'value', 'start_epoch'),  # of a checkpoint
    *('l_total', 'rate'),  # of the log
    *('psize', 'last_pgno'),  # of an LMDB
}
"""Texts by which our classes look something up that is not an option."""


def test_the_page_is_that_of_the_definitions():
    written = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    assert written == reference(REGISTRIES), 'Make it anew: deeprftv2 options > docs/options.md'


def sections() -> Iterator[Section]:
    """All sections with keys of their own."""
    tops = [value for value in vars(definitions).values() if isinstance(value, Section)]
    tops += [section for parts in (definitions.ANY_MODEL, *definitions.MODELS.values()) for section in parts.values()]
    while tops:
        section = tops.pop()
        yield section
        tops += [key.section for key in section.keys if key.section is not None]


def test_defaults_fit_their_own_definition():
    wrong = [
        f'{section.where}.{key.name}'
        for section in sections()
        for key in section.keys
        if key.default is not NONE_GIVEN and not key.accepts(key.default)
    ]
    assert wrong == []


def test_every_key_has_a_meaning_and_a_place_of_its_own():
    for section in sections():
        assert len(set(section.names)) == len(section.names), section.where
        for key in section.keys:
            assert key.meaning.endswith('.'), f'{section.where}.{key.name}'


def test_every_class_of_ours_has_its_section():
    for registry, sections in (('dataset', definitions.DATASETS), ('model', definitions.MODELS)):
        assert {entry.name for entry in entries_of_ours(REGISTRIES, registry)} == set(sections)


@pytest.mark.parametrize(
    'entry',
    [entry for registry in ('arch', 'loss', 'metric') for entry in entries_of_ours(REGISTRIES, registry)],
    ids=lambda entry: entry.name,
)
def test_arguments_of_ours_say_what_they_are(entry):
    """Their annotations and docstrings are the definitions."""
    for key in signature_section(entry, '', given=('img', 'img2', 'better')).keys:
        assert key.meaning, f'{entry.name}: the docstring says nothing about {key.name}'
        assert key.default is NONE_GIVEN or key.accepts(key.default), f'{entry.name}.{key.name}'
        assert 'anything' not in key.expected(), f'{entry.name}.{key.name}: the annotation says nothing'


def keys_read(source: Path) -> Iterator[tuple[str, int]]:
    """Every text with which a module looks something up: `x['key']`, `x.get('key')`, `number(x, 'key', ...)`."""
    for node in ast.walk(ast.parse(source.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Subscript):
            looked_up = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == 'get':
            looked_up = node.args[:1]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            looked_up = node.args[1:2] if node.func.id in ('number', 'positive_integer', '_size') else []
        else:
            continue
        for text in looked_up:
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.value, node.lineno


def test_every_key_that_is_read_is_defined():
    package = ROOT / 'deeprftv2_arch'
    sources = [*(package / 'data').glob('*.py'), *(package / 'models').glob('*.py'), package / 'stages.py']
    defined = [key for section in sections() for key in section.keys]
    arguments = {'lr', 'T_max', 'eta_min', 'type'}
    forgotten = [
        f'{source.relative_to(ROOT)}, line {line}: {name!r} is read but not defined. If it is a key of option files, '
        'add a Key to its Section in deeprftv2_arch/config/schema.py; if not, to NOT_OPTIONS here.'
        for source in sources
        for name, line in keys_read(source)
        if not known(name, defined) and name not in {*NOT_OPTIONS, *arguments, *definitions.COMPUTED}
    ]
    assert not forgotten, '\n'.join(forgotten)


def known(name: str, defined: list[Key]) -> bool:
    return Section('', tuple(defined)).find(name) is not None


def test_the_page_can_be_printed(tmp_path):
    done = python('-m', 'deeprftv2_arch', 'options', folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, reference(REGISTRIES)), done.stderr


def test_files_can_be_checked_without_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert command.main([]) == 0
    assert capsys.readouterr().out == reference(REGISTRIES)
    (tmp_path / 'x.yml').write_text('name: x\nnum_gpu: -1\n')
    assert command.main([str(tmp_path / 'x.yml'), str(tmp_path / 'y.yml')]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f'Error: Cannot read the option file {tmp_path}/y.yml: No such file or directory.'
    assert f'Error: {tmp_path}/x.yml:2: num_gpu: expected a whole number of at least 0 or auto, got -1.' in lines
