"""Hints for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def nearest(name: object, known: Collection[object]) -> str:
    """Return a hint such as `` (did you mean 'gt_size'?)`` for a misspelt name, or an empty string.

    Names read from a file may be numbers, or none.

    >>> nearest('gt_sise', ['gt_size', 'scale'])
    " (did you mean 'gt_size'?)"
    """
    matches = difflib.get_close_matches(str(name), sorted(map(str, known)), n=1)
    return f' (did you mean {matches[0]!r}?)' if matches else ''
