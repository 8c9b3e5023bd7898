"""Text files that list names or numbers, one a line, and their NumPy form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import expand, read_text_file


def read_list_file(file: str | Path, where: str = '') -> list[str]:
    """Read a list: the lines of a text file, or the values of a ``.npy`` file.

    Args:
        file: Text, see :func:`~deeprftv2_arch.utils.paths.read_text_file`, or a NumPy array of numbers.
        where: Option to name in a message, besides the file.

    Returns:
        The entries without surrounding blanks. Empty lines are left out.

    Raises:
        UserError: If the file cannot be read.
    """
    return list(read_numbered(file, where).values())


def read_numbered(file: str | Path, where: str = '') -> dict[int, str]:
    """Read a list as :func:`read_list_file` does, by the number of the line; lines count from 1."""
    try:
        if Path(file).suffix == '.npy':
            lines = [str(value) for value in np.load(expand(file), allow_pickle=False).ravel().tolist()]
        else:
            lines = read_text_file(file).splitlines()
    except (OSError, ValueError, TypeError, AttributeError, EOFError) as error:
        option = f'{where}: ' if where else ''
        raise UserError(f'{option}cannot read the list {str(file)!r}: {error}.') from error
    return {number: line.strip() for number, line in enumerate(lines, start=1) if line.strip()}


def position(entry: str) -> int | None:
    """Read a position, counted from 1; MATLAB and NumPy write whole numbers as floating point ones, such as 1.0e+00.

    Returns:
        The position, or None for anything else.
    """
    try:
        value = float(entry)
    except ValueError:
        return None
    return int(value) if value.is_integer() and value >= 1 else None


def ways_to_split(line: str) -> Iterator[tuple[str, str]]:
    """Yield the ways to take a line for two names, which may have blanks in them; where there is a tab, it parts them.

    >>> list(ways_to_split('my pic.png other.png'))
    [('my', 'pic.png other.png'), ('my pic.png', 'other.png')]
    """
    blanks = r' *\t\s*' if '\t' in line else r'\s+'
    for gap in re.finditer(blanks, line):
        yield line[: gap.start()], line[gap.end() :]
