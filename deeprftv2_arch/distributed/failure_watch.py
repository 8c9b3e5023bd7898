"""What the processes of one run tell each other beside torch's collectives: that one failed, or is asked to stop.

A process that fails leaves the others in a collective that it will never join: gloo notices when the connection breaks,
NCCL waits for hours. So it says so in the store at which they all met, and each of them looks there twice a second.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress

from torch import distributed as dist

from deeprftv2_arch.utils.console import USER_ERROR

POLL = 0.5
"""Seconds between two looks into the store."""

GRACE = 10.0
"""Seconds that a process has, after another failed, to come to an end by itself, as with a file that it is writing."""

LOST = (
    'The connection to another process of this run was lost, and it left no message: it may have been killed, for lack '
    'of memory or by the system. Add --auto_resume to go on from the last checkpoint.'
)
"""What is told when a process ended without a word."""


class FailureWatch:
    """The processes of a run, as one of them sees them.

    Args:
        store: Where they talk. By default this process is alone.
        rank: Rank of this process. What all of them meet at once is told by rank 0: the others give it a moment.
    """

    def __init__(self, store: dist.Store | None = None, rank: int = 0) -> None:
        self._alone, self._rank = store is None, rank
        self._store = dist.HashStore() if store is None else store
        # The store of torchrun outlives the processes that it starts again.
        self._attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
        self._failed = 0
        self._left = threading.Event()

    @classmethod
    def meet(cls) -> FailureWatch:
        """Meet the others, once torch's processes have met, and watch for one that fails.

        The connection is one of its own: that of torch may be held by what waits in it.
        """
        address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
        peers = cls(dist.TCPStore(address, port, is_master=False), dist.get_rank())
        threading.Thread(target=peers._watch, daemon=True).start()
        return peers

    @property
    def failed(self) -> int:
        """Exit code of the process that failed first, as far as it is known here; 0 if none did."""
        return self._failed

    def fail(self, code: int) -> bool:
        """Tell the others that this process failed. They end with the same code.

        Args:
            code: The exit code.

        Returns:
            Whether it is the first, and so the one to tell the user.
        """
        if self._rank > 0:
            time.sleep(2 * POLL)
        if self._failed:
            return False
        self._failed = code
        try:
            first = self._add('failures', 1) == 1
            if first:
                self._add('code', code)
            self._failed = self._add('code', 0) or code
        except RuntimeError:  # the process that kept the store is gone
            return True
        if self._rank == 0 and not self._alone:
            time.sleep(2 * POLL)  # the store may end with this process: the others shall have looked into it
        return first

    def ask_to_stop(self) -> None:
        """Ask all processes to leave what they share."""
        self._add('stop', 1)

    def asked_to_stop(self) -> bool:
        """Whether any process was asked."""
        return self._add('stop', 0) > 0

    def leave(self) -> None:
        """Watch no more: the run is over, and well."""
        self._left.set()

    def _add(self, name: str, number: int) -> int:
        return self._store.add(f'deeprftv2_arch/{self._attempt}/{name}', number)

    def _watch(self) -> None:
        """End this process if another failed and it does not end by itself."""
        while not self._failed:
            if self._left.wait(POLL):
                return
            try:
                self._failed = self._add('code', 0)
            except RuntimeError:
                break
        if self._left.wait(GRACE):
            return
        if not self._failed:
            print(f'Error: {LOST}', file=sys.stderr)
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # The main thread may be in a collective for good, where no exception reaches it.
        os._exit(self._failed or USER_ERROR)


def is_lost(error: BaseException) -> bool:
    """Whether an exception says that another process is not there any more."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and 'gloo/transport' in str(error))
