"""Ctrl+C and SIGTERM, held back until a training can be left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class TrainingStopped(Exception):  # noqa: N818  # it is none
    """A training that was asked to stop, and did so with everything saved. The message is for the user."""


class Interruption:
    """While the context is open, the first SIGINT or SIGTERM is a request, and a second one a `KeyboardInterrupt`.

    Attributes:
        requested: Whether a signal came.
        held_back: Whether the first signal is only noted, not raised. At first it is not.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self.held_back = False
        self._process = os.getpid()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def raised(self) -> Iterator[None]:
        """Inside, the first signal raises `KeyboardInterrupt` at once, and is a request as well."""
        self.held_back = False
        try:
            yield
        finally:
            self.held_back = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Forked workers inherit this handler and get the Ctrl+C of their terminal: the training needs them to its end.
        if os.getpid() != self._process:
            return
        first, self.requested = not self.requested, True
        if not (first and self.held_back):
            raise KeyboardInterrupt
