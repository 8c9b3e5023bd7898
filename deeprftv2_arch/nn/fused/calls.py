"""How tensors reach the compiled passes: as arrays, in chunks of rows for the threads, weights packed in panels."""

from __future__ import annotations

import importlib
import logging
import math
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from deeprftv2_arch.nn.kernels import threads

_logger = logging.getLogger('deeprftv2_arch')

# Below about 0.1 ms of work waking other threads costs more than they give.
_ELEMENTS = 2**16
_SUMMED = 2**19  # elements of a map that one job adds up


def kernel_module(name: str) -> ModuleType:
    """Import a module of compiled passes; only when it is needed, as Numba may be missing."""
    return importlib.import_module(f'deeprftv2_arch.nn.fused.{name}')


@cache
def passes() -> ModuleType | None:
    """Return the compiled passes, or None if Numba cannot compile them here, or ``DEEPRFTV2_FUSED=0`` says so."""
    if os.environ.get('DEEPRFTV2_FUSED') == '0':
        return None
    try:
        kernels = kernel_module('kernels')
        x, weight, bias = (
            np.zeros((1, 16), np.float32),
            np.zeros((1, 16, 16), np.float32),
            np.zeros((1, 16), np.float32),
        )
        kernels.update(x, x, weight, bias, np.empty_like(x), 0, 1)
    except Exception as error:  # whatever compilers raise: the plain form computes the same
        _logger.warning('The fused passes cannot run here; blocks take more time without them. %s', error)
        return None
    return kernels


@cache
def lanes() -> int:
    """Return what numbers of channels are multiples of: the floats of a vector."""
    return kernel_module('kernels').LANES


def _chunks(rows: int, parts: int) -> list[tuple[int, int]]:
    parts = max(min(parts, rows), 1)
    return list(pairwise(rows * part // parts for part in range(parts + 1)))


def _parts(elements: int, per_thread: int) -> int:
    threads = torch.get_num_threads()
    return max(threads, min(per_thread * threads, elements // _ELEMENTS)) if elements >= _ELEMENTS else 1


def run(kernel: Callable, calls: list[tuple], rows: int, elements: int, per_thread: int = 4) -> None:
    """Run a kernel on ranges of rows: one call for each sample, divided among the threads.

    With several ranges for each thread those that are faster, or less disturbed, take more of them.
    """
    chunks = _chunks(rows, math.ceil(_parts(elements, per_thread) / len(calls)))
    jobs = [partial(kernel, *call, *chunk) for call in calls for chunk in chunks]
    threads.run(jobs, torch.get_num_threads())


def run_sums(
    kernel: Callable, calls: list[tuple], rows: int, elements: int, shapes: Sequence[tuple[int, ...]]
) -> list[Tensor]:
    """Do as `run` for a kernel that adds to arrays as well, its last arguments but the range: the sums over all calls.

    Every job has arrays of its own, so that no two threads add to the same place, and takes few enough pixels that the
    rounding errors of long sums stay small.
    """
    chunks = _chunks(rows, math.ceil(max(_parts(elements, 1), elements // _SUMMED) / len(calls)))
    count = len(calls) * len(chunks)
    sums = [torch.zeros(count, *shape, dtype=torch.float32, device='cpu') for shape in shapes]
    arguments = [(call, chunk) for call in calls for chunk in chunks]
    own = zip(*(part.numpy() for part in sums), strict=True)
    jobs = [partial(kernel, *call, *arrays, *chunk) for (call, chunk), arrays in zip(arguments, own, strict=True)]
    threads.run(jobs, torch.get_num_threads())
    return [part.sum(0) for part in sums]


def array(x: Tensor) -> np.ndarray:
    """Return the memory of a float32 tensor, or of a copy if it is not in one piece: kernels check neither.

    Raises:
        TypeError: The tensor is in another precision.
    """
    if x.dtype != torch.float32:
        raise TypeError(f'a fused pass over float32 maps cannot take a tensor in {x.dtype}')
    return x.detach().resolve_neg().contiguous().numpy()


def row(x: Tensor) -> np.ndarray:
    """(K,) -> (1, K)."""
    return array(x).reshape(1, -1)


def flat(x: Tensor) -> np.ndarray:
    """(N, H, W, C) -> (N H W, C)."""
    return array(x).reshape(-1, x.shape[-1])


def packed(weight: Tensor) -> np.ndarray:
    """Weights (K, C) in panels: (K / width, C, width)."""
    width = next(width for width in kernel_module('products').WIDTHS if len(weight) % width == 0)
    return array(weight.detach().unflatten(0, (-1, width)).transpose(1, 2))
