"""Text files that list names or numbers, one a line, and their NumPy form."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeprftv2_arch.utils.errors import UserError


def read_list_file(file: str | Path, where: str = '') -> list[str]:
    """Read a list: the lines of a text file, or the values of a ``.npy`` file.

    Args:
        file: UTF-8 text, or a NumPy array of numbers.
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
            lines = [_as_text(value) for value in np.load(file, allow_pickle=False).ravel().tolist()]
        else:
            lines = Path(file).read_text(encoding='utf-8').splitlines()
    except (OSError, ValueError, TypeError, AttributeError) as error:
        option = f'{where}: ' if where else ''
        raise UserError(f'{option}cannot read the list {str(file)!r}: {error}.') from error
    return {number: line.strip() for number, line in enumerate(lines, start=1) if line.strip()}


def _as_text(value: object) -> str:
    """Write a value of an array as a text file would have it: MATLAB saves whole numbers as floating point ones."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
