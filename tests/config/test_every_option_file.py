"""Reading option files: YAML's own traps, and what must not be executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeprftv2_arch.config.yaml_file import OptionFile, read_option_file
from deeprftv2_arch.utils.errors import UserError


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a text as an option file called x.yml."""
    monkeypatch.chdir(tmp_path)

    def read(text: str) -> OptionFile:
        Path('x.yml').write_text(text)
        return read_option_file('x.yml')

    return read


def test_values_and_their_lines(read):
    file = read('a: 1\nb:\n  c: [x, !!float 1e-3]\n  d: {e: ~}\n\nf:\n  - g: 2\n  - g: 3\n')
    assert file.options == {'a': 1, 'b': {'c': ['x', 0.001], 'd': {'e': None}}, 'f': [{'g': 2}, {'g': 3}]}
    assert file.lines[('b', 'c', '1')] == 3
    assert file.lines[('b', 'd', 'e')] == 4
    assert file.lines[('f', '1', 'g')] == 8
    assert file.problems == []


def test_merged_keys_have_the_line_where_they_stand(read):
    file = read('a: &common\n  x: 1\n  y: 2\nb:\n  <<: *common\n  y: 3\n')
    assert file.options['b'] == {'x': 1, 'y': 3}
    assert (file.lines[('b', 'x')], file.lines[('b', 'y')]) == (2, 6)
    assert file.problems == []


def test_the_same_key_twice(read):
    (problem,) = read('train:\n  lr: 1\n  decay: 2\n  lr: 3\n').problems
    assert str(problem) == 'x.yml:4: train.lr: this key stands on line 2 already, and only the last one would count.'


@pytest.mark.parametrize('number', ['1e-3', '-2E5', '1e6', '1.5e3', '.5e+1'])
def test_numbers_that_yaml_takes_for_text(read, number):
    problems = read(f'a:\n  - {number}\n  - \'{number}\'\n  - "{number}"\n').problems
    if number == '.5e+1':
        assert problems == []  # YAML has a sign and a point
        return
    (problem,) = problems
    assert str(problem).startswith(f'x.yml:2: a.0: YAML takes {number} for text. Write ')
    written = str(problem).split('Write ')[1].split(';')[0]
    assert read(f'a: {written}').options['a'] == float(number)


@pytest.mark.parametrize('text', ['name: 2e', 'name: e5', 'name: x1e5', 'name: 1_000', 'lr: 1.0e-3', 'lr: 1e'])
def test_what_is_no_number_stays_text(read, text):
    assert read(text).problems == []


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a: 1\nb:\n\tc: 2\n', r'^x\.yml:3: not YAML, column 1: a tab stands where YAML wants spaces\.$'),
        ('a:\n  b: 1\n c: 2\n', r'^x\.yml:3: not YAML, column 2: .*\(while parsing a block mapping, line 1\)'),
        ('a: [1,\nb: 2', r'^x\.yml:2: not YAML, column 5: '),
        ('a: b: c', r'^x\.yml:1: not YAML, column 5: mapping values are not allowed here'),
        ('a: 1\n---\nb: 2', r'^x\.yml:2: not YAML, .*another document'),
        ('a: *nowhere', r"^x\.yml:1: .*undefined alias 'nowhere'"),
        ('a: &a [*a]', r'^x\.yml:1: .*an anchor that holds itself'),
        ('just words', r'^x\.yml is not an option file: it holds no keys'),
        ('', r'^x\.yml is not an option file: it holds no keys'),
    ],
)
def test_files_that_cannot_be_read(read, text, message):
    with pytest.raises(UserError, match=message) as raised:
        read(text)
    assert '\n' not in str(raised.value)


def test_nothing_in_a_file_is_executed(read, tmp_path):
    with pytest.raises(UserError, match=r'^x\.yml:2: .* the tag .*os\.mkdir.* would make an object of Python'):
        read('a: 1\nb: !!python/object/apply:os.mkdir [made]\n')
    assert not (tmp_path / 'made').exists()


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r'^Cannot read the option file .*nowhere\.yml: No such file or directory'):
        read_option_file(tmp_path / 'nowhere.yml')
    with pytest.raises(UserError, match='Is a directory'):
        read_option_file(tmp_path)
    (tmp_path / 'x.yml').write_bytes(b'a: \xff')
    with pytest.raises(UserError, match='is not a text file in UTF-8'):
        read_option_file(tmp_path / 'x.yml')


@pytest.mark.parametrize('character', ['\x1b', '\x0c', '\x07', '\x0b', '\0', '\ufffe'])
def test_characters_that_no_text_has_are_named_with_their_line(tmp_path, character):
    (tmp_path / 'x.yml').write_text(f'a: 1\n# pasted: {character}[0m\nb: 2\n', encoding='utf-8')
    with pytest.raises(UserError, match=rf'x\.yml:2: not YAML: .*U\+{ord(character):04X}'):
        read_option_file(tmp_path / 'x.yml')


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_option_files_of_windows_editors(tmp_path, encoding):
    (tmp_path / 'x.yml').write_text('name: M\u00fcller\n', encoding=encoding)
    assert read_option_file(tmp_path / 'x.yml').options == {'name': 'M\u00fcller'}
