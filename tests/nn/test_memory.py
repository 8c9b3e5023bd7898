"""Choosing the largest piece that fits, with a memory that runs out on command."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch

from deeprftv2_arch.nn import memory

CPU = torch.device('cpu')


def fits_up_to(limit: int, tried: list[int], error: Exception) -> Callable[[int], int]:
    def run(size: int) -> int:
        tried.append(size)
        if size > limit:
            raise error
        return size

    return run


@pytest.mark.parametrize(
    'error',
    [torch.OutOfMemoryError('out of memory'), MemoryError(), RuntimeError('[enforce fail] DefaultCPUAllocator: ...')],
    ids=lambda error: type(error).__name__,
)
def test_halves_and_goes_on_when_memory_runs_out(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    told: list[object] = []
    # At the source: how often a record is handed on depends on the logs that are open in this process.
    monkeypatch.setattr(memory._logger, 'handle', lambda record: told.append(record.args))
    monkeypatch.setattr(memory._logger, 'level', logging.WARNING)
    result = memory.largest_that_fits(fits_up_to(300, tried, error), 1000, 64, 8, 0, CPU)
    assert (result, tried) == (248, [1000, 496, 248])
    assert told == [(1000, 496), (496, 248)]


def test_other_errors_and_a_smallest_piece_that_does_not_fit_are_not_hidden() -> None:
    tried: list[int] = []
    with pytest.raises(RuntimeError, match='a bug'):
        memory.largest_that_fits(fits_up_to(0, tried, RuntimeError('a bug')), 512, 64, 8, 0, CPU)
    assert tried == [512]
    with pytest.raises(MemoryError):
        memory.largest_that_fits(fits_up_to(0, tried, MemoryError()), 512, 64, 8, 0, CPU)
    assert tried[1:] == [512, 256, 128, 64]


def test_the_first_size_fits_into_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, 'free_memory', lambda device: 1_000_000)
    tried: list[int] = []
    memory.largest_that_fits(fits_up_to(10_000, tried, MemoryError()), 1024, 64, 8, 10, CPU)
    assert tried == [128]  # 256 x 256 pixels of 10 bytes are more than 60 % of it


def test_an_allocation_that_fails_is_known_as_such() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)
    assert 0 < memory.free_memory(CPU) < 2**50
