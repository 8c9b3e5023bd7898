"""Exchange of Python objects between the processes of a run."""

from __future__ import annotations

from typing import TypeVar

from torch import distributed as dist

T = TypeVar('T')


def gather_from_all(value: T) -> list[T]:
    """Return the value of each process, by rank. All processes must take part; a process alone gets its own."""
    if not dist.is_initialized():
        return [value]
    values = [value] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values
