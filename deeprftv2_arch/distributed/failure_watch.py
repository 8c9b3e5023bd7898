"""How one process of a run that fails, or is asked to stop, ends the others too.

A process that fails leaves the others in a collective that it will never join: gloo notices when the connection breaks,
NCCL waits for hours. torchrun's agent kills them, and its `@record` names the first that failed, but with exit code 1
and a traceback; under Slurm's `srun` there is no agent at all. Here every process ends with the exit code of the first
failure, and one message says why: the failing process leaves word in the store at which all of them met, and each looks
there twice a second.
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
"""Seconds that a process has to end by itself after another failed, as with a file that it is writing."""

LOST = (
    'The connection to another process of this run was lost, and it left no message: it may have been killed, for lack '
    'of memory or by the system. Add --auto_resume to go on from the last checkpoint.'
)
"""The message when a process ended without one."""


class FailureWatch:
    """One process's view of whether any process of the run failed or was asked to stop.

    Args:
        store: Shared by all processes. By default this process is alone.
        rank: Rank of this process. If all fail alike, only rank 0 reports it: the others wait a moment first.

    Attributes:
        failed: Exit code of the process that failed first, as far as it is known here; 0 if none did.
    """

    def __init__(self, store: dist.Store | None = None, rank: int = 0) -> None:
        self.failed = 0
        self._is_shared = store is not None
        self._store = dist.HashStore() if store is None else store
        self._rank = rank
        # The store of torchrun outlives the processes that it starts again.
        self._attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')
        self._left = threading.Event()

    @classmethod
    def start(cls) -> FailureWatch:
        """Connect to the others, once torch's processes have met, and watch in a thread for one that fails."""
        address, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
        # A second connection: a collective that hangs may hold torch's own.
        watch = cls(dist.TCPStore(address, port, is_master=False), dist.get_rank())
        threading.Thread(target=watch._watch, daemon=True).start()
        return watch

    def fail(self, code: int) -> bool:
        """Have all processes end with an exit code because this one failed.

        Returns:
            Whether it is the first that failed, and so the one to say why.
        """
        if self._rank > 0:
            time.sleep(2 * POLL)
        if self.failed:
            return False
        self.failed = code
        try:
            is_first = self._add('failures', 1) == 1
            if is_first:
                self._add('code', code)
            self.failed = self._add('code', 0) or code
        except RuntimeError:  # the process that kept the store is gone
            return True
        if self._rank == 0 and self._is_shared:
            time.sleep(2 * POLL)  # the store may end with this process, and the others have to look into it first
        return is_first

    def ask_to_stop(self) -> None:
        """Ask all processes to leave what they share."""
        self._add('stop', 1)

    def asked_to_stop(self) -> bool:
        """Return whether any process was asked."""
        return self._add('stop', 0) > 0

    def stop(self) -> None:
        """Stop the watcher after a successful run."""
        self._left.set()

    def _add(self, name: str, number: int) -> int:
        return self._store.add(f'deeprftv2_arch/{self._attempt}/{name}', number)

    def _watch(self) -> None:
        """End this process if another failed and it does not end by itself."""
        while not self.failed:
            if self._left.wait(POLL):
                return
            try:
                self.failed = self._add('code', 0)
            except RuntimeError:
                break
        if self._left.wait(GRACE):
            return
        if not self.failed:
            print(f'Error: {LOST}', file=sys.stderr)
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        # The main thread may be in a collective for good, where no exception reaches it.
        os._exit(self.failed or USER_ERROR)


def is_lost(error: BaseException) -> bool:
    """Return whether an exception says that another process is gone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and 'gloo/transport' in str(error))
