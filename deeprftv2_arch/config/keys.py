"""How a key of an option file is described: its type, range, default and meaning, as data.

Types are written as Python's annotations, so that the arguments of our networks and losses, which option files give
too, are judged by the same two functions: `fits` and `describe`.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, NewType, Union, get_args, get_origin

Iterations = NewType('Iterations', int)
"""A whole number that may be written with an exponent, which YAML reads as a float: ``!!float 2e4``."""
Folder = NewType('Folder', str)
File = NewType('File', str)
NONE_GIVEN = object()
"""In the place of a default: there is none."""

_NAMES = {
    bool: 'true or false',
    int: 'a whole number',
    Iterations: 'a whole number',
    float: 'a number',
    str: 'text',
    Folder: 'a folder',
    File: 'a file',
    types.NoneType: '~',
}


@dataclass(frozen=True)
class Key:
    """A key and what it may hold.

    Attributes:
        name: As in the option file. A pattern such as ``network_*`` stands for all keys that match.
        kind: Type of the value, as an annotation.
        meaning: One sentence for the reference.
        default: What holds where the key is absent.
        needed: The runs that cannot do without the key: ``always``, ``train`` or ``test``; empty for none.
        at_least: Smallest number allowed, for each number of a list.
        below: Number that must not be reached.
        section: Of a mapping, or of each mapping of a list: its own keys.
    """

    name: str
    kind: Any
    meaning: str
    default: Any = NONE_GIVEN
    needed: Literal['', 'always', 'train', 'test'] = ''
    at_least: float | None = None
    below: float | None = None
    section: Section | None = None

    def accepts(self, value: Any) -> bool:
        """Whether type and range of a value are right."""
        return fits(value, self.kind) and all(self._in_range(number) for number in _numbers(value))

    def expected(self) -> str:
        """The values that are right, in words."""
        limits = [] if self.at_least is None else [f'at least {self.at_least:g}']
        limits += [] if self.below is None else [f'below {self.below:g}']
        return describe(self.kind, f' of {" and ".join(limits)}' if limits else '')

    def _in_range(self, number: float) -> bool:
        return (self.at_least is None or number >= self.at_least) and (self.below is None or number < self.below)


@dataclass(frozen=True)
class Section:
    """Keys that stand together.

    Attributes:
        where: Place in the option file; capitals stand for a name of the user's choice: ``datasets.NAME``.
        keys: What may stand there.
        about: What there is to know about all of them.
        reader: Name of the class that reads them, if there is but one.
        unknown: What other keys are. `allowed` where they may be read by what is not ours.
    """

    where: str
    keys: tuple[Key, ...]
    about: str = ''
    reader: str = ''
    unknown: Literal['wrong', 'wrong if like a known one', 'allowed'] = 'wrong'

    @property
    def names(self) -> tuple[str, ...]:
        """The names and patterns of all keys."""
        return tuple(key.name for key in self.keys)

    def find(self, name: object) -> Key | None:
        """The definition of a key, or None if there is none."""
        return next((key for key in self.keys if fnmatchcase(str(name), key.name)), None)


def fits(value: Any, kind: Any) -> bool:
    """Whether a value read from YAML is of a type, which is given as an annotation. Unknown types take any value."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in arguments)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if kind is Any:
        return True
    if kind is None or kind is types.NoneType:
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is Iterations:
        return fits(value, int) or (isinstance(value, float) and value.is_integer())
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (str, Folder, File):
        return isinstance(value, str)
    if (origin or kind) in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and _entries_fit(value, origin, arguments)
    if (origin or kind) in (dict, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, kind) if isinstance(kind, type) else True


def _entries_fit(values: Sequence[Any], origin: Any, arguments: tuple[Any, ...]) -> bool:
    if origin is tuple and Ellipsis not in arguments:
        return len(values) == len(arguments) and all(map(fits, values, arguments))
    return all(fits(value, arguments[0]) for value in values) if arguments else True


def describe(kind: Any, limits: str = '') -> str:
    """A type in words: ``a whole number or ~``.

    Args:
        kind: The type, as an annotation.
        limits: What to say after each number, such as `` of at least 1``.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return ' or '.join(describe(option, limits) for option in arguments)
    if origin is Literal:
        return ' or '.join(map(as_yaml, arguments))
    if origin is tuple and Ellipsis not in arguments:
        if len(set(arguments)) == 1:
            return f'a list of {len(arguments)}'
        return f'[{", ".join(describe(entry, limits) for entry in arguments)}]'
    if (origin or kind) in (list, tuple, Sequence):
        return f'a list ({describe(arguments[0], limits)} each)' if arguments else 'a list'
    if (origin or kind) in (dict, Mapping):
        return 'keys of its own'
    return _NAMES.get(kind, 'anything') + (limits if kind in (int, float, Iterations) else '')


def as_yaml(value: Any) -> str:
    """A value as one would write it in an option file, on one line."""
    if value is None:
        return '~'
    if isinstance(value, str) and re.fullmatch('[A-Za-z][A-Za-z0-9_]*', value):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return f'.{value}'
    return json.dumps(value, default=str)  # JSON is YAML


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list | tuple):
        return [number for entry in value for number in _numbers(entry)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
