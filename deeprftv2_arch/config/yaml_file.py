"""Option files as plain values, read safely, with the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deeprftv2_arch.config.problems import KeyPath, OptionsError, Problem
from deeprftv2_arch.utils.errors import UserError

EXPONENT_WITHOUT_POINT = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+')
"""Numbers everywhere but in YAML 1.1, which wants a decimal point and the sign of the exponent."""


@dataclass
class OptionFile:
    """An option file that was read.

    Attributes:
        name: Its path, as the user gave it.
        text: What stands in it.
        options: Its values.
        lines: The line of every key and of every entry of a list.
        arguments: The arguments of the command line that set a value, by its key.
        new: Of these keys, those that the file does not have.
        problems: What is wrong with it as YAML, though it can be read, and with the arguments.
    """

    name: str
    text: str = ''
    options: dict[str, Any] = field(default_factory=dict)
    lines: dict[KeyPath, int] = field(default_factory=dict)
    arguments: dict[KeyPath, str] = field(default_factory=dict)
    new: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """Something wrong at a key, placed on its line, or on that of the nearest key around it."""
        for end in range(len(path), 0, -1):
            place = self.arguments.get(path[:end]) or self.new.get(path[:end])
            if place is not None:
                return Problem(path, message, place)
            if path[:end] in self.lines:
                line = self.lines[path[:end]]
                return Problem(path, message, f'{self.name}:{line}', line)
        return Problem(path, message, f'{self.name}:1', 1)


def read_option_file(file: str | Path) -> OptionFile:
    """Read an option file with YAML's safe loader: its tags cannot make objects or run code.

    Raises:
        UserError: The file cannot be read, is not YAML, or holds no keys. What is wrong with keys and values is
            found, not raised.
    """
    read = OptionFile(str(file))
    try:
        read.text = Path(file).read_text(encoding='utf-8')
    except OSError as error:
        raise UserError(f'Cannot read the option file {file}: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise UserError(f'{file} is not a text file in UTF-8: {error.reason} at byte {error.start}.') from error
    loader = yaml.SafeLoader(read.text)
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise UserError(f'{file} is not an option file: it holds no keys.')
        _look_through(root, (), read, loader, ())
        read.options = loader.construct_document(root)
    except yaml.YAMLError as error:
        raise OptionsError([_syntax(error, read)]) from error
    finally:
        loader.dispose()
    return read


def parse_value(text: str) -> Any:
    """A value of the command line, as YAML reads it.

    Raises:
        UserError: It is not YAML, or a number that YAML takes for text.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f'{text!r} is not a value in YAML: {" ".join(str(error).split())}.') from error
    if isinstance(value, str) and value == text.strip() and EXPONENT_WITHOUT_POINT.fullmatch(value):
        raise UserError(number_as_text(value))
    return value


def _look_through(node: yaml.Node, path: KeyPath, read: OptionFile, loader: yaml.SafeLoader, above: tuple) -> None:
    """Note the lines of all keys below a node, and what YAML itself takes without a word but no one means."""
    if any(node is other for other in above):
        raise yaml.constructor.ConstructorError(None, None, 'an anchor that holds itself', node.start_mark)
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if name in first and name != '<<':
                message = f'this key stands on line {first[name]} already, and only the last one would count.'
                read.problems.append(Problem((*path, name), message, f'{read.name}:{line}', line))
            first.setdefault(name, line)
        loader.flatten_mapping(node)  # `<<: *anchor` becomes the keys of the anchor
    for key, value, line in _children(node, loader):
        place = (*path, key)
        read.lines[place] = line
        _look_through(value, place, read, loader, above)
    is_bare_text = isinstance(node, yaml.ScalarNode) and node.style is None and node.tag == 'tag:yaml.org,2002:str'
    if is_bare_text and EXPONENT_WITHOUT_POINT.fullmatch(node.value):
        read.problems.append(read.problem(path, number_as_text(node.value)))


def _children(node: yaml.Node, loader: yaml.SafeLoader) -> Iterator[tuple[str, yaml.Node, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(loader.construct_object(key, deep=True)), value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield str(number), value, value.start_mark.line + 1


def is_number_as_text(value: Any) -> bool:
    """Whether a value is text to YAML 1.1, but likely meant as a number: `1e-3`."""
    return isinstance(value, str) and EXPONENT_WITHOUT_POINT.fullmatch(value) is not None


def number_as_text(value: str) -> str:
    """Say how to write such a number."""
    number = f'{float(value):.1e}' if float(f'{float(value):.1e}') == float(value) else repr(float(value))
    return f"YAML takes {value} for text. Write {number}; or '{value}', if text is meant."


def _syntax(error: yaml.YAMLError, read: OptionFile) -> Problem:
    mark = getattr(error, 'problem_mark', None)
    problem = getattr(error, 'problem', None) or str(error)
    line = mark.line + 1 if mark else 1
    if "'\\t'" in problem:
        problem = 'a tab stands where YAML wants spaces'
    elif 'could not determine a constructor for the tag' in problem:
        problem = f'the tag {problem.split(" tag ")[-1]} would make an object of Python, which option files may not'
    elif isinstance(error, yaml.MarkedYAMLError) and error.context and error.context_mark:
        problem = f'{problem} ({error.context}, line {error.context_mark.line + 1})'
    column = f', column {mark.column + 1}' if mark else ''
    return Problem((), f'not YAML{column}: {" ".join(problem.split())}.', f'{read.name}:{line}', line)
