"""Sections of an option file that are the arguments of a class or function, read off its signature."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Collection
from typing import Any

from deeprftv2_arch.options.definitions import COMMON_ARGUMENTS
from deeprftv2_arch.options.keys import NONE_GIVEN, Key, Section

TRUSTED = ('deeprftv2_arch.', 'torch.optim.')
"""Modules whose annotations are right, so that values are judged by them. Elsewhere only names are judged."""

ARGUMENTS = r'^ {4}(\w+(?:,\s+\w+)*)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)'
"""An entry of `Args`: one or several names, perhaps a type in brackets, the meaning."""


def is_ours(thing: Any) -> bool:
    """Whether a class or function is of this package."""
    return thing.__module__.startswith('deeprftv2_arch.')


def signature_section(function: Callable[..., Any], where: str, given: Collection[str] = ()) -> Section:
    """The keys that a class or function takes from an option file, its `type` among them.

    Args:
        function: The class or function.
        where: Place in the option file.
        given: Arguments that it gets from elsewhere.
    """
    parameters = inspect.signature(function).parameters.values()
    kinds = _annotations(function) if function.__module__.startswith(TRUSTED) else {}
    meanings = argument_docs(function)
    keys = [Key('type', str, 'Its name.', needed='always')]
    keys += [
        Key(
            p.name,
            kinds.get(p.name, Any),
            meanings.get(p.name) or COMMON_ARGUMENTS.get(p.name, ''),
            default=NONE_GIVEN if p.default is p.empty else p.default,
            needed='always' if p.default is p.empty else '',
        )
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in given
    ]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = 'allowed' if takes_all else 'wrong'
    return Section(where, tuple(keys), _first_sentence(function), function.__name__, unknown)


def argument_docs(function: Callable[..., Any]) -> dict[str, str]:
    """The `Args` of a Google docstring, each on one line; of a class, with those of its bases that it refers to."""
    docs: dict[str, str] = {}
    for thing in reversed(function.__mro__) if inspect.isclass(function) else [function]:
        block = re.search(r'^Args:\n((?: .*\n?|\n)*)', inspect.cleandoc(thing.__doc__ or ''), flags=re.MULTILINE)
        entries = re.findall(ARGUMENTS, block[1], flags=re.MULTILINE) if block else []
        for names, meaning in entries:
            for name in re.split(r',\s+', names):
                if name not in docs or not meaning.startswith('As for'):
                    docs[name] = ' '.join(meaning.split())
    return docs


def _first_sentence(function: Callable[..., Any]) -> str:
    paragraph = ' '.join((inspect.getdoc(function) or '').split('\n\n')[0].split())
    return re.split(r'(?<=\.)\s', paragraph)[0]


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    constructor = function.__init__ if inspect.isclass(function) else function
    try:
        return typing.get_type_hints(constructor)
    except (NameError, TypeError):  # names imported for type checkers alone
        return {}
