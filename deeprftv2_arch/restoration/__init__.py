"""Restoring photographs: the files, the network, tiles, and whether what comes out is to be trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeprftv2_arch.restoration.restorer import Restored, Restorer

__all__ = ['Restored', 'Restorer']


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is asked for: the files are looked at first."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from deeprftv2_arch.restoration import restorer

    return getattr(restorer, name)
