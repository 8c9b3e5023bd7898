"""What can be known to be wrong with an option file before a run touches the disk: everything at once.

BasicSR reads its options one by one while it runs: it archives the last experiment and makes new folders first,
stops with a KeyError later, and never sees a misspelt key.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from deeprftv2_arch.config.catalogue import Catalogue
from deeprftv2_arch.config.keys import File, Folder, Key, Section, as_yaml
from deeprftv2_arch.config.problems import Finding, KeyPath
from deeprftv2_arch.config.yaml_file import OptionFile
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest

ALIKE = 0.7
"""Similarity from which an unknown key, where others may be read, is taken for a misspelt one."""


class Checker:
    """Collects what is wrong with one option file.

    Args:
        read: The file, with the values of the command line.
        is_train: Whether it is to train, or to test.
        catalogue: What it may name.

    Attributes:
        findings: What is wrong.
        known: Keys that have a definition.
        model: Name of the model's class, as it is or as it was probably meant; empty for none.
    """

    def __init__(self, read: OptionFile, is_train: bool, catalogue: Catalogue) -> None:
        self.read = read
        self.is_train = is_train
        self.catalogue = catalogue
        self.findings: list[Finding] = list(read.findings)
        self.known: set[KeyPath] = set()
        self.model = ''

    def report(self, path: KeyPath, message: str) -> None:
        """Add a finding, unless something else is wrong with the same key."""
        if not self.is_wrong(path):
            self.findings.append(self.read.finding(path, message))

    def report_error(self, error: UserError) -> None:
        """Add what another part of this package found, at the key that its message begins with."""
        begin, separator, message = str(error).partition(': ')
        path = tuple(re.findall(r'\w+', begin))
        is_key = bool(separator) and ' ' not in begin and path[0] in self.read.options
        self.report(path if is_key else (), message if is_key else str(error))

    def is_wrong(self, path: KeyPath) -> bool:
        """Whether something was found at a key."""
        return any(finding.path == path for finding in self.findings)

    def value(self, *path: str, kind: Any = object) -> Any:
        """The value of a key if it is there, of that class, and nothing is wrong with it; else None."""
        part: Any = self.read.options
        for key in path:
            if not isinstance(part, Mapping):
                return None
            part = part.get(key)
        return part if isinstance(part, kind) and not self.is_wrong(path) else None

    def check_section(self, part: Any, path: KeyPath, section: Section, *, trains: bool | None = None) -> None:
        """Check the keys of a part of the options, and of the parts in it, against their definitions.

        Args:
            part: What stands there.
            path: Where it stands.
            section: What may stand there.
            trains: Whether it must have what a training needs; by default if the run is one.
        """
        needs = ('always', 'train' if (self.is_train if trains is None else trains) else 'test')
        if not isinstance(part, Mapping):
            self.report(path, f'expected keys of its own, got {as_yaml(part)}.')
            return
        unknown = [str(key) for key in part if section.find(key) is None]
        suggested = self._check_unknown(unknown, path, section)
        for key in section.keys:
            if key.name not in part and key.needed in needs and key.name not in suggested:
                similar = difflib.get_close_matches(key.name, unknown, n=1)
                needed_by = f', but {section.reader} needs it' if section.reader else ''
                instead = f' There is {similar[0]!r}: rename it, if it is meant.' if similar else ''
                self.report((*path, key.name), f'missing{needed_by}. {key.meaning}{instead}'.rstrip())
        for name, value in part.items():
            key = section.find(name)
            if key is not None:
                self.known.add((*path, str(name)))
                self._check_value(value, (*path, str(name)), key)

    def check_new_keys(self) -> None:
        """Report keys that only the command line has and that no definition knows: likely misspelt."""
        for path, place in self.read.new.items():
            told = any(path[: len(f.path)] == f.path[: len(path)] for f in self.findings if f.path)
            if path not in self.known and not told:
                others = {str(key) for key in self.value(*path[:-1], kind=Mapping) or {}} - {path[-1]}
                others |= {known[-1] for known in self.known if known[:-1] == path[:-1]}
                message = f'the option file has no such key{nearest(path[-1], others)}.'
                self.findings.append(Finding(path, message, place))

    def _check_unknown(self, unknown: list[str], path: KeyPath, section: Section) -> list[str]:
        """Report unknown keys as the section wants it; return the keys that were suggested instead."""
        suggested = []
        for name in unknown:
            cutoff = {'wrong': 0.6, 'wrong if like a known one': ALIKE, 'allowed': 2}[section.unknown]
            if cutoff > 1:
                continue
            examples = [known.replace('*', 'g') for known in section.names]  # of the patterns
            similar = difflib.get_close_matches(name, examples, n=1, cutoff=cutoff)
            suggested += similar
            reader = f' for {section.reader}' if section.reader else ''
            if similar:
                self.report((*path, name), f'unknown key{reader} (did you mean {similar[0]!r}?).')
            elif section.unknown == 'wrong':
                self.report((*path, name), f'unknown key{reader}. Known keys: {", ".join(sorted(section.names))}.')
        return suggested

    def _check_value(self, value: Any, path: KeyPath, key: Key) -> None:
        if not key.accepts(value):
            self.report(
                path, f'expected {key.expected()}, got {repr(value) if isinstance(value, str) else as_yaml(value)}.'
            )
        elif isinstance(value, str):
            self._check_path(value, path, key.kind)
        if key.section is not None and value is not None:
            entries = enumerate(value) if isinstance(value, list) else [(None, value)]
            for number, entry in entries:
                self.check_section(entry, path if number is None else (*path, str(number)), key.section)

    def _check_path(self, value: str, path: KeyPath, kind: Any) -> None:
        place = Path(os.path.expanduser(value))
        kinds = (kind, *get_args(kind))
        if Folder in kinds and not place.is_dir():
            self.report(path, f'there is no folder {os.path.abspath(place)}. Put the data there, or correct the path.')
        elif File in kinds and not place.is_file():
            self.report(path, f'there is no file {os.path.abspath(place)}.')
