"""Values given on the command line in the place of those of the option file: `--set a.b.c=value`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeprftv2_arch.config.problems import KeyPath, Problem
from deeprftv2_arch.config.yaml_file import OptionFile, parse_value
from deeprftv2_arch.utils.errors import UserError


def set_values(read: OptionFile, arguments: Sequence[str]) -> None:
    """Apply the arguments of `--set`: `a.b.c=value`, the value in YAML. Entries of a list go by their number.

    Mistakes are added to the problems of the file.
    """
    for argument in arguments:
        _apply(read, f'--set {argument}', argument, '.')


def force_values(read: OptionFile, arguments: Sequence[str]) -> None:
    """Apply the arguments of BasicSR's `--force_yml`: `a:b:c=value`. BasicSR itself executes them as Python."""
    for argument in arguments:
        _apply(read, f'--force_yml {argument}', argument, ':')


def _apply(read: OptionFile, place: str, argument: str, separator: str) -> None:
    dotted, equals, text = argument.partition('=')
    path = tuple(dotted.strip().split(separator))
    if not equals or not all(path):
        read.problems.append(Problem((), f'expected key{separator}key=value.', place))
        return
    try:
        value = parse_value(text)
    except UserError as error:
        read.problems.append(Problem(path, str(error), place))
        return
    if separator == ':' and text.strip().lower() == 'none':
        value = None
    part: Any = read.options
    for depth, name in enumerate(path):
        key: Any = name
        is_last = depth == len(path) - 1
        if isinstance(part, list):
            if not key.isdigit() or int(key) >= len(part):
                message = f'this list has {len(part)} entries, numbered from 0; there is no {key}.'
                read.problems.append(Problem(path[:depth], message, place))
                return
            key = int(key)
        elif not isinstance(part, dict):
            message = f'it is not a part with keys of its own, so it has no {key}.'
            read.problems.append(Problem(path[:depth], message, place))
            return
        elif part.get(key) is None:
            if key not in part:
                read.new.setdefault(path[: depth + 1], place)
            part[key] = {}
        if is_last:
            part[key] = value
            _forget(read, path)
            read.arguments[path] = place
        else:
            part = part[key]


def _forget(read: OptionFile, path: KeyPath) -> None:
    """Drop what was noted of a value that no longer counts."""

    def counts(other: KeyPath) -> bool:
        return other[: len(path)] != path

    read.lines = {key: line for key, line in read.lines.items() if counts(key)}
    read.arguments = {key: place for key, place in read.arguments.items() if counts(key)}
    read.problems = [problem for problem in read.problems if not problem.path or counts(problem.path)]
