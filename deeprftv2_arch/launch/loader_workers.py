"""Workers of data loaders: they outlast a request to stop, and do not outlast a run that failed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from deeprftv2_arch.distributed.signals import ECHO


def start_worker(then: Callable[[int], None] | None, number: int) -> None:
    """Start a worker of a data loader so that it leaves signals to the training, which needs its data to the end.

    The Ctrl+C of a terminal reaches all its processes, and so does the SIGTERM of torchrun, Slurm or systemd. A later
    SIGTERM ends the worker: it is how torch ends one that hangs.

    Args:
        then: The loader's own ``worker_init_fn``.
        number: Number of the worker.
    """
    asked_at: list[float] = []

    def end_if_asked_again(signal_number: int, frame: FrameType | None) -> None:
        asked_at.append(time.monotonic())
        if asked_at[-1] - asked_at[0] > ECHO:
            signal.signal(signal_number, signal.SIG_DFL)
            os.kill(os.getpid(), signal_number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end_if_asked_again)
    if then is not None:
        then(number)


def end_workers() -> None:
    """Kill the workers that a failed run leaves behind: Python would ask them once, then wait for ever."""
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers and hasattr(signal, 'SIGCHLD'):  # Windows has none
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch takes the end of a worker for an error
    for worker in workers:
        worker.kill()
