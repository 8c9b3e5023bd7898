"""The order of names that people expect: ``2.png`` before ``10.png``."""

from __future__ import annotations

import re


def natural(name: str) -> list[tuple[int, str]]:
    """Key to sort names by: runs of digits count as numbers, and come before letters."""
    return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', name)]
