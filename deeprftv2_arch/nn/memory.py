"""Running a large input in pieces that fit in memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

_logger = logging.getLogger('deeprftv2_arch')
_Result = TypeVar('_Result')

# Of the memory that is free when a piece size is chosen; the rest is for the result and for other programs.
USABLE = 0.6
# Side in pixels below which tiles of an image make no sense: running out of memory is an error then.
SMALLEST_TILE = 64


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be allocated on a device, or None where that cannot be known."""
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == 'cpu':
        try:
            with open('/proc/meminfo') as lines:
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable'))
        except (OSError, StopIteration):
            return None
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that an allocation failed, on a GPU or on the CPU."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and 'DefaultCPUAllocator' in str(error)
    )


def largest_that_fits(
    run: Callable[[int], _Result], size: int, smallest: int, multiple: int, cost: float, device: torch.device
) -> _Result:
    """Run with the largest piece that fits in memory: half the size again whenever memory runs out.

    On the CPU an allocation seldom fails: the system stops the process instead. So the first size is chosen by what is
    free, and running out is only the second line of defence.

    Args:
        run: Takes the side of a piece in pixels.
        size: Side of the largest piece that makes sense, in pixels.
        smallest: Side below which running out of memory is an error.
        multiple: Sides are multiples of this.
        cost: Bytes per pixel of a piece at the peak.
        device: Where it runs.

    Returns:
        What ``run`` returns for the first size that fits.

    Raises:
        torch.OutOfMemoryError, MemoryError, RuntimeError: Not even the smallest piece fits.
    """
    free = free_memory(device)
    while free is not None and size > smallest and size**2 * cost > USABLE * free:
        size = _half(size, multiple, smallest)
    while True:
        try:
            return run(size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or size <= smallest:
                raise
        # Outside of the handler, where the traceback no longer holds the tensors.
        gc.collect()
        if device.type == 'cuda':
            torch.cuda.empty_cache()
        _logger.warning(
            'Out of memory with pieces of %d pixels; going on with %d.', size, _half(size, multiple, smallest)
        )
        size = _half(size, multiple, smallest)


def _half(size: int, multiple: int, smallest: int) -> int:
    return max(size // 2 // multiple * multiple, smallest)
