"""Ctrl+C and SIGTERM, held back until a training can be left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from deeprftv2_arch.peers import Peers


class TrainingStopped(Exception):  # noqa: N818  # it is none
    """A training that was asked to stop, and did so with everything saved. The message is for the user."""


class ValidationGivenUp(KeyboardInterrupt):
    """A validation that ended before its last image, in all processes that share it, because one was asked to stop."""


class Interruption:
    """While the context is open, the first SIGINT or SIGTERM is a request, and a second one a `KeyboardInterrupt`.

    Attributes:
        requested: Whether a signal came.
        held_back: Whether the first signal is only noted, not raised. At first it is not.
        peers: The processes of the run, any of which may be asked.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self.held_back = False
        self.peers = Peers()
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
        before, self.held_back = self.held_back, False
        try:
            yield
        finally:
            self.held_back = before

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if this process was asked to stop, or another one has passed that on."""
        if self.requested or self.peers.asked_to_stop():
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Forked workers inherit this handler and get the Ctrl+C of their terminal: the training needs them to its end.
        if os.getpid() != self._process:
            return
        first, self.requested = not self.requested, True
        if not (first and self.held_back):
            raise KeyboardInterrupt
