"""What is found wrong with an option file: one line each, told all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deeprftv2_arch.utils.errors import UserError

KeyPath = tuple[str, ...]
"""A place in the options: the keys that lead there; entries of a list by their number, as text."""


class Problem(NamedTuple):
    """One thing that is wrong.

    Attributes:
        path: The key that it is about; empty for the file as a whole.
        message: What is wrong and what to do, without the name of the key.
        place: Where it stands: file and line, or the argument of the command line.
        line: The line's number, to sort by; 0 for the command line.
    """

    path: KeyPath
    message: str
    place: str
    line: int = 0

    def __str__(self) -> str:
        return ': '.join(filter(None, [self.place, '.'.join(self.path), self.message]))


class OptionsError(UserError):
    """An option file with mistakes, all of them, in the order of its lines.

    Attributes:
        problems: At least one; the message holds a line for each.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        super().__init__('\n'.join(map(str, self.problems)))
