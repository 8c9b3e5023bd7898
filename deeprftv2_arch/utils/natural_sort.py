"""Natural order of names: ``2.png`` before ``10.png``."""

from __future__ import annotations

import re


def natural_sort_key(name: str) -> list[tuple[int, str]]:
    """Return the key to sort names by: runs of digits count as numbers.

    >>> sorted(['img10', 'img9', 'img1'], key=natural_sort_key)
    ['img1', 'img9', 'img10']
    """
    key = []
    for part in re.split(r'(\d+)', name):
        key.append((int(part), '') if part.isdigit() else (-1, part))
    return key
