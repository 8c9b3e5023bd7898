"""Sections of an option file that are the arguments of a class or function, read off its signature."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from deeprftv2_arch.config.catalogue import Entry
from deeprftv2_arch.config.keys import NONE_GIVEN, Key, Section
from deeprftv2_arch.config.schema import COMMON_ARGUMENTS

ARGUMENTS = r'^ {4}(\w+(?:,\s+\w+)*)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)'
"""An entry of `Args`: one or several names, perhaps a type in brackets, the meaning."""


def signature_section(entry: Entry, where: str, given: Collection[str] = ()) -> Section:
    """The keys that a class or function takes from an option file, its `type` among them.

    Args:
        entry: The class or function.
        where: Place in the option file.
        given: Arguments that it gets from elsewhere.
    """
    meanings = argument_docs(entry)
    keys = [Key('type', str, 'Its name.', needed='always')]
    keys += [
        Key(
            p.name,
            entry.kinds.get(p.name, Any),
            meanings.get(p.name) or COMMON_ARGUMENTS.get(p.name, ''),
            default=NONE_GIVEN if p.default is p.empty else p.default,
            needed='always' if p.default is p.empty else '',
        )
        for p in entry.parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in given
    ]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in entry.parameters)
    unknown = 'allowed' if takes_all else 'wrong'
    return Section(where, tuple(keys), _first_sentence(entry), entry.name, unknown)


def argument_docs(entry: Entry) -> dict[str, str]:
    """The `Args` of a Google docstring, each on one line; of a class, with those of its bases that it refers to."""
    docs: dict[str, str] = {}
    for text in reversed(entry.docs):
        block = re.search(r'^Args:\n((?: .*\n?|\n)*)', text, flags=re.MULTILINE)
        entries = re.findall(ARGUMENTS, block[1], flags=re.MULTILINE) if block else []
        for names, meaning in entries:
            for name in re.split(r',\s+', names):
                if name not in docs or not meaning.startswith('As for'):
                    docs[name] = ' '.join(meaning.split())
    return docs


def _first_sentence(entry: Entry) -> str:
    paragraph = ' '.join(next(filter(None, entry.docs), '').split('\n\n')[0].split())
    return re.split(r'(?<=\.)\s', paragraph)[0]
