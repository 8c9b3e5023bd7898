"""Runs functions that release the GIL on several threads: on torch's own, where they can be reached.

After a parallel operation torch's OpenMP threads go on spinning for milliseconds, in case another one follows. Threads
of a second pool have to share the cores with them, and a scan right after a torch operation gains little. Therefore
the jobs are run by OpenMP's threads: the OpenMP run-time library that torch is linked to has a C entry point, which
is what a C compiler makes of `#pragma omp parallel`. Where there is none (other systems), and in forked processes (in
which OpenMP's threads do not exist, and calling them would hang), a pool of Python threads does the same.
"""

from __future__ import annotations

import ctypes
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch

_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_pool: ThreadPoolExecutor | None = None
_forked = False


def _after_fork() -> None:
    global _pool, _forked
    _pool, _forked = None, True


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _openmp() -> Callable | None:
    """Return GOMP_parallel(function, argument, threads, flags) of the OpenMP library that torch is linked to."""
    library = Path(torch.__file__).parent / 'lib' / 'libtorch_cpu.so'
    try:
        function = ctypes.CDLL(str(library)).GOMP_parallel  # searched in the library and in those it is linked to
    except (OSError, AttributeError):
        return None
    function.argtypes = [_Body, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    function.restype = None
    return function


def _run_in_pool(work: Callable[[], None], threads: int) -> None:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix='selective-scan')
    others = [_pool.submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():  # still waiting for a thread: nothing is left for it to do
            other.result()


def _run_in_openmp(work: Callable[[], None], threads: int) -> None:
    parallel = _openmp()
    if parallel is None:
        _run_in_pool(work, threads)
        return
    errors: list[BaseException] = []

    @_Body
    def body(_: object) -> None:
        try:
            work()
        except BaseException as error:  # must not leave the callback; raised below
            errors.append(error)

    parallel(body, None, threads, 0)
    if errors:
        raise errors[0]


def run(jobs: Iterable[Callable[[], None]], threads: int) -> None:
    """Run all jobs on this and further threads and returns when the last is done."""
    queue = deque(jobs)

    def work() -> None:
        while True:
            try:
                job = queue.popleft()
            except IndexError:
                return
            job()

    if threads == 1 or len(queue) == 1:
        work()
    elif _forked:
        _run_in_pool(work, threads)
    else:
        # Always all of torch's threads: OpenMP would end those that a smaller team leaves out and start them anew.
        _run_in_openmp(work, threads)
