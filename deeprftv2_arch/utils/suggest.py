"""Hints for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Collection


def nearest(name: object, known: Collection[str]) -> str:
    """Return a hint such as `` (did you mean 'gt_size'?)`` for a misspelt name, or an empty string.

    A name read from a file may be a number, or none.

    >>> nearest('gt_sise', ['gt_size', 'scale'])
    " (did you mean 'gt_size'?)"
    """
    matches = difflib.get_close_matches(str(name), sorted(known), n=1)
    return f' (did you mean {matches[0]!r}?)' if matches else ''
