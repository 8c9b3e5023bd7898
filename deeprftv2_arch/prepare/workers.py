"""Many small jobs in several processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cv2
from tqdm import tqdm

_CHUNK = 4
"""Jobs handed to a process at a time; an interrupt waits for them to end."""

_QUIET_INTERVAL = 10.0
"""Seconds between two lines of progress where nobody watches, as in the log of a cluster's job."""


def default_workers() -> int:
    """As many processes as this one may use processors, at most 16: by then the disk is the limit."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return min(16, available)


def run_jobs(function: Callable[[Any], Any], items: Sequence[Any], *, workers: int, label: str) -> Iterator[Any]:
    """Call ``function`` on every item, and yield the results in the order of the items.

    Args:
        function: A function of a module, or a ``functools.partial`` of one.
        items: Arguments that can be pickled.
        workers: Number of processes; with 1, this process does the work.
        label: What the progress bar is called.

    Raises:
        KeyboardInterrupt: On Ctrl+C, after the jobs under way have ended.
        concurrent.futures.process.BrokenProcessPool: If a worker was killed.
    """
    interval = 0.2 if sys.stderr.isatty() else _QUIET_INTERVAL
    progress = tqdm(total=len(items), desc=label, unit='', mininterval=interval, smoothing=0.1)
    with progress:
        for result in _results(function, items, workers):
            progress.update()
            yield result


def _results(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    if workers == 1:
        yield from map(function, items)
        return
    # Workers that are forked start at once; new interpreters would each import PyTorch first.
    method = 'fork' if 'fork' in multiprocessing.get_all_start_methods() else None
    with ProcessPoolExecutor(workers, multiprocessing.get_context(method), initializer=_start_worker) as pool:
        try:
            yield from pool.map(function, items, chunksize=_CHUNK)
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker() -> None:
    # Ctrl+C reaches the whole group of processes; the parent alone reacts to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
