"""The types of values of an option file, with what is wrong with a value in words."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from deeprftv2_arch.utils.paths import expand


def as_yaml(value: Any) -> str:
    """Write a value as in an option file, on one line."""
    if value is None:
        return '~'
    if isinstance(value, str) and re.fullmatch('[A-Za-z][A-Za-z0-9_]*', value):
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return f'.{value}'
    return json.dumps(value, default=str)  # JSON is YAML


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _height_and_width(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2:
        return tuple(value)
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _filled(value: str) -> str:
    if not value.strip():
        raise ValueError('it is empty. Write ~ for none, or remove the key.')
    return value


def _existing(kind: str, is_there: Callable[[str], bool], advice: str) -> Callable[[str, ValidationInfo], str]:
    def check(value: str, info: ValidationInfo) -> str:
        if not value.strip():
            raise ValueError(f'it is empty. Name a {kind}; the current folder is called a dot.')
        path = expand(value)
        if info.context and info.context['run'] and not is_there(path):
            raise ValueError(f'there is no {kind} {os.path.abspath(path)}.{advice}')
        return path

    return check


def template_mistake(template: object) -> str:
    """Say what is wrong with a `filename_tmpl`, which `str.format` fills with the stem of a name; empty for nothing."""
    if not isinstance(template, str):
        return f'expected text, got {as_yaml(template)}.'
    try:
        filled = {template.format(name) for name in ('name', 'other')}
    except (LookupError, ValueError, AttributeError) as error:
        return (
            f"{template!r} cannot be filled with a name: {error}. Write {{}} where the name belongs, as in '{{}}_blur'."
        )
    if len(filled) == 1:
        return f"{template!r} makes the same of every name. Write {{}} where the name belongs, as in '{{}}_blur'."
    return ''


def _template(value: str) -> str:
    if mistake := template_mistake(value):
        raise ValueError(mistake)
    return value


Keys = dict[Any, Any]
"""A part whose keys are those of the class that its `type` names."""

Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Finite = Annotated[float, Field(ge=0, lt=math.inf)]
"""A number that is neither negative nor infinite."""

Share = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]
"""The two decays of Adam and its kin."""

Iterations = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
"""A number of iterations, which may be written with an exponent: YAML reads ``!!float 2e4`` as a float."""

Size = Annotated[
    tuple[Positive, Positive],
    BeforeValidator(_height_and_width),
    WithJsonSchema(
        {
            'anyOf': [
                {'type': 'integer', 'minimum': 1},
                {'type': 'array', 'items': {'type': 'integer', 'minimum': 1}, 'minItems': 2, 'maxItems': 2},
            ]
        }
    ),
]
"""Height and width in pixels; one number for a square."""

LONGEST_NAME = 200
"""Bytes of a name: file systems take 255 for a file, and BasicSR adds up to 26."""


def _folder_name(value: str) -> str:
    problem = ''
    if value.strip() in ('', '.', '..'):
        problem = 'is the name of no folder'
    elif '/' in value or '\\' in value:
        problem = 'is a path, and a name is that of one folder'
    elif value != value.strip() or value.endswith('.'):
        problem = 'has a blank at an end or a dot at its end, which some systems drop'
    elif not value.isprintable():
        problem = 'holds characters that do not show'
    elif len(value.encode()) > LONGEST_NAME:
        problem = f'has more than the {LONGEST_NAME} bytes that a name may have'
    if problem:
        raise ValueError(f'{as_yaml(value)} {problem}. Choose a name such as gopro_1.')
    return value


FolderName = Annotated[str, AfterValidator(_folder_name)]
"""The name of a folder that a run makes inside another."""

MISSING_DATA = ' Put the data there, or correct the path.'
Folder = Annotated[
    str,
    AfterValidator(_existing('folder', os.path.isdir, MISSING_DATA)),
    WithJsonSchema({'type': 'string', 'format': 'folder'}),
]
File = Annotated[
    str, AfterValidator(_existing('file', os.path.isfile, '')), WithJsonSchema({'type': 'string', 'format': 'file'})
]
"""Paths; their `~` is the home folder."""

Text = Annotated[str, AfterValidator(_filled)]
Template = Annotated[str, AfterValidator(_template)]
"""A stem of names, with `{}` for the stem of another name."""
