"""Reading, writing and converting checkpoints."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprftv2_arch.checkpoints.published_keys import from_published, to_published

__all__ = ['from_published', 'to_published']


def __getattr__(name: str) -> Any:
    """Import the conversion when it is asked for: it needs the networks, which BasicSR's patches come before."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.published_keys'), name)
