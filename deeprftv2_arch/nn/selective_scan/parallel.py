"""Runs functions that release the GIL on as many threads as torch uses."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    """In a forked child: the parent's threads do not exist here, and waiting for them would hang."""
    global _pool
    _pool = None


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_pool)


def run(jobs: Sequence[Callable[[], None]]) -> None:
    """Runs all jobs at the same time, the first in this thread, and returns when the last is done."""
    global _pool
    if len(jobs) > 1 and _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix='selective-scan')
    others = [_pool.submit(job) for job in jobs[1:]]
    jobs[0]()
    for other in others:
        other.result()
