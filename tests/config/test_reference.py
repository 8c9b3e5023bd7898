"""The page of all keys, what it is made from, and the JSON schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from processes import ROOT, python

from deeprftv2_arch.cli import check_options as command
from deeprftv2_arch.config import schema as declared
from deeprftv2_arch.config.components import Component, registered
from deeprftv2_arch.config.options import Options, fields, problems, schemas, words
from deeprftv2_arch.config.reference import KINDS, editor_schema, ours, reference

CATALOGUE = registered()


def test_the_page_is_that_of_the_declarations():
    written = (ROOT / 'docs' / 'options.md').read_text(encoding='utf-8')
    assert written == reference(CATALOGUE), 'Make it anew: deeprftv2 options > docs/options.md'


def sections() -> Iterator[type[Options]]:
    """All declared sections."""
    for value in vars(declared).values():
        if isinstance(value, type) and issubclass(value, Options):
            yield value


@pytest.mark.parametrize('section', list(sections()), ids=lambda section: section.__name__)
def test_every_key_has_a_meaning_and_a_default_that_fits(section):
    for name, field in fields(section).items():
        assert field.description, name
        assert field.description.endswith('.'), name
    defaults = {name: field.default for name, field in fields(section).items() if not field.is_required()}
    plain = {name: value for name, value in defaults.items() if value is not None and not isinstance(value, Options)}
    wrong = [path for path, message in problems(section, plain) if not message.startswith('missing')]
    assert wrong == []


def test_every_data_set_and_model_of_ours_declares_its_options():
    for kind in ('dataset', 'model'):
        assert all(component.options for component in ours(CATALOGUE, kind))


@pytest.mark.parametrize(
    'component', [c for kind in KINDS for c in ours(CATALOGUE, kind)], ids=lambda component: component.name
)
def test_arguments_of_ours_say_what_they_are(component: Component):
    """Their annotations and docstrings are the declarations."""
    section = component.arguments_section(('img', 'img2', 'better'))
    for name, field in fields(section).items():
        assert field.description, f'{component.name}: the docstring says nothing about {name}'
        assert 'anything' not in words(schemas(section)[name]), f'{component.name}.{name}: the annotation says nothing'


@pytest.mark.parametrize('file', sorted((ROOT / 'options').glob('train_*.yml')), ids=lambda file: file.stem)
def test_editors_take_our_option_files(file):
    """Keys of a file are those of the schema, down to the arguments of the network."""
    schema = editor_schema(CATALOGUE)
    options = yaml.safe_load(file.read_text())
    assert options.keys() <= schema['properties'].keys()
    network = next(
        rule['then']['properties']
        for rule in schema['properties']['network_g']['allOf']
        if rule['if']['properties']['type']['const'] == options['network_g']['type']
    )
    assert options['network_g'].keys() <= network.keys()
    json.dumps(schema)


def test_the_page_can_be_printed(tmp_path):
    done = python('-m', 'deeprftv2_arch', 'options', folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, reference(CATALOGUE)), done.stderr


def test_files_can_be_checked_without_a_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert command.main([]) == 0
    assert capsys.readouterr().out == reference(CATALOGUE)
    (tmp_path / 'x.yml').write_text('name: x\nnum_gpu: -1\n')
    assert command.main([str(tmp_path / 'x.yml'), str(tmp_path / 'y.yml')]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f'Error: Cannot read the option file {tmp_path}/y.yml: No such file or directory.'
    assert f'Error: {tmp_path}/x.yml:2: num_gpu: expected a whole number of at least 0 or auto, got -1.' in lines
