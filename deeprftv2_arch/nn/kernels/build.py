"""How kernels are compiled, and where their machine code is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit

FLAGS: dict[str, Any] = {'nogil': True, 'error_model': 'numpy'}
"""Options of `njit` for every function of a kernel."""


@cache
def _digest(folder: Path) -> str:
    """Return a digest of all sources that a kernel in a folder may be made of: the folder's and those shared here."""
    files = sorted(file for part in {folder, Path(__file__).parent} for file in part.glob('*.py'))
    return hashlib.sha256(b''.join(file.read_bytes() for file in files)).hexdigest()[:16]


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a function that Python calls, and keep the machine code on disk for later processes.

    Numba compares the age of the file in which the function stands, but not of those it calls into; therefore the
    kept code carries a digest of all of them in its name.
    """
    function.__qualname__ += f'_{_digest(Path(function.__code__.co_filename).parent)}'
    try:
        return njit(cache=True, **FLAGS)(function)
    except RuntimeError:  # no folder to keep it in: neither beside the package nor in the user's home
        return njit(**FLAGS)(function)
