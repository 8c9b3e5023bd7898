"""Ctrl+C and SIGTERM, held back until a training can be left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from deeprftv2_arch.distributed.failure_watch import FailureWatch

ECHO = 1.0
"""Seconds within which a second signal is the first one over again: torchrun hands on what its workers got as well."""


class TrainingStopped(Exception):  # noqa: N818  # it is none
    """A training that was asked to stop, and did so with everything saved. The message is for the user."""


class ValidationGivenUp(KeyboardInterrupt):
    """A validation that ended before its last image, in all processes that share it, because one was asked to stop."""


class GracefulStop:
    """While the context is open, the first SIGINT or SIGTERM is a request, and a second one a `KeyboardInterrupt`.

    Attributes:
        requested: Whether a signal came.
        deferred: Whether the first signal is only noted, not raised. At first it is not.
        peers: The processes of the run, any of which may be asked.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self.deferred = False
        self.peers = FailureWatch()
        self._asked_at = 0.0
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> GracefulStop:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Inside, the first signal raises `KeyboardInterrupt` at once, and is a request as well."""
        before, self.deferred = self.deferred, False
        try:
            yield
        finally:
            self.deferred = before

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if this process was asked to stop, or another one has passed that on."""
        if self.requested or self.peers.asked_to_stop():
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Forked processes inherit this handler.
        if os.getpid() != self._process:
            return
        if self.requested and time.monotonic() - self._asked_at < ECHO:
            return
        first, self.requested, self._asked_at = not self.requested, True, time.monotonic()
        if not (first and self.deferred):
            raise KeyboardInterrupt


def start_worker(then: Callable[[int], None] | None, number: int) -> None:
    """Have a worker of a data loader leave signals to the training, which needs its data to the end.

    The Ctrl+C of a terminal reaches all its processes, and so does the SIGTERM of torchrun, Slurm or systemd. A later
    SIGTERM ends the worker: it is how torch ends one that hangs.

    Args:
        then: What the worker would begin with otherwise.
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
    """End the workers that a run leaves behind when it fails: Python would ask them once, then wait for ever."""
    workers = [child for child in multiprocessing.active_children() if child.daemon]
    if workers and hasattr(signal, 'SIGCHLD'):  # Windows has none
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch takes the end of a worker for an error
    for worker in workers:
        worker.kill()
