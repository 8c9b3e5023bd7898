"""Ctrl+C and SIGTERM, deferred until a training can be left."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from deeprftv2_arch.distributed.failure_watch import FailureWatch

ECHO = 1.0
"""Seconds within which a second signal repeats the first: torchrun hands on what its workers got as well."""


class TrainingStopped(Exception):  # noqa: N818  # control flow, not an error
    """Ends a training that was asked to stop, with everything saved. The message is for the user."""


class ValidationGivenUp(KeyboardInterrupt):
    """Ends a validation before its last image, in all processes that share it, because one was asked to stop."""


class GracefulStop:
    """Takes the first SIGINT or SIGTERM for a request while it is open as a context, a second one as Ctrl+C.

    Attributes:
        requested: Whether a signal came.
        deferred: Whether the first signal is only noted. Else, as at first, it raises `KeyboardInterrupt`.
        watch: Passes the request on to the other processes of the run.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self.deferred = False
        self.watch = FailureWatch()
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
        """Have the first signal raise `KeyboardInterrupt` at once inside of this context; it is a request as well."""
        before, self.deferred = self.deferred, False
        try:
            yield
        finally:
            self.deferred = before

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if this process was asked to stop, or another one has passed that on."""
        if self.requested or self.watch.asked_to_stop():
            raise KeyboardInterrupt

    def ask_all(self) -> None:
        """Ask all processes of the run to stop what they share."""
        self.watch.ask_to_stop()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Forked processes inherit this handler.
        if os.getpid() != self._process:
            return
        if self.requested and time.monotonic() - self._asked_at < ECHO:
            return
        first, self.requested, self._asked_at = not self.requested, True, time.monotonic()
        if not (first and self.deferred):
            raise KeyboardInterrupt
