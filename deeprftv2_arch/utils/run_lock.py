"""A folder that one run at a time writes into: a file beside it names the process that does."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from deeprftv2_arch.utils.errors import UserError

BEAT = 15.0
"""Seconds between two signs of life of the process that holds a lock."""

STALE = 8 * BEAT
"""Seconds without a sign of life after which a process that cannot be looked up is taken to have ended."""


class RunLock:
    """Holds a folder for one run, from its making until it is released.

    The lock is the file `.<folder>.lock` beside the folder, which may itself be renamed or not be there yet. It names
    host, process and time. A lock whose process has ended is taken over: on the same machine at once, else after two
    minutes without a sign of life, for the file system may be shared by several machines.

    Args:
        folder: What the run is to write into; the folder around it is made.
        doing: What the run does there, for the message to others: `a training`.

    Raises:
        UserError: Another process holds the folder.
        OSError: The lock cannot be written.
    """

    def __init__(self, folder: str | Path, doing: str) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.file = self.folder.with_name(f'.{self.folder.name}.lock')
        self._released = threading.Event()
        self._content = json.dumps({**_this_process(), 'doing': doing, 'since': time.strftime('%Y-%m-%d %H:%M:%S')})
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._take()
        threading.Thread(target=self._beat, daemon=True).start()

    def check(self) -> None:
        """Refuse to go on if the lock is another's by now, as after hours in which this process was suspended.

        Raises:
            UserError: Naming the folder.
        """
        content = self._read()
        if content is not None and content != self._content:
            raise UserError(f'{self.folder} belongs to another run by now. {_holder(content)} This run ends.')

    def release(self) -> None:
        """Give the folder free. Releasing twice does nothing."""
        if not self._released.is_set():
            self._released.set()
            if self._read() == self._content:
                with suppress(OSError):
                    self.file.unlink()

    def _take(self) -> None:
        for _ in range(3):
            try:
                handle = os.open(self.file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                self._remove_stale()
                continue
            with os.fdopen(handle, 'w', encoding='utf-8') as stream:
                stream.write(self._content)
            return
        raise self._refusal(self._read() or '')

    def _remove_stale(self) -> None:
        """Remove the lock of a process that has ended; refuse where it may live."""
        content = self._read()
        if content is None:
            return  # released just now
        if self._may_live(content):
            raise self._refusal(content)
        aside = self.file.with_name(f'{self.file.name}.{os.getpid()}')
        with suppress(FileNotFoundError):
            os.replace(self.file, aside)
            if aside.read_text(encoding='utf-8') != content:  # another was faster, and this is its lock
                os.replace(aside, self.file)
                return
            aside.unlink()

    def _may_live(self, content: str) -> bool:
        holder, here = _parsed(content), _this_process()
        same_place = all(holder.get(key) == here[key] for key in ('host', 'boot', 'space'))
        if same_place and os.name == 'posix' and isinstance(holder.get('process'), int):
            start = _start_of(holder['process'])
            return start is not None and start == holder.get('start')
        if holder.get('host') == here['host'] and holder.get('boot') != here['boot']:
            return False  # this machine was started anew since
        return self._seconds_without_sign() < STALE

    def _seconds_without_sign(self) -> float:
        """The age of the lock by the clock of its file system, which need not be ours."""
        probe = self.file.with_name(f'{self.file.name}.{os.getpid()}.now')
        try:
            probe.touch()
            now = probe.stat().st_mtime
            return now - self.file.stat().st_mtime
        except FileNotFoundError:
            return STALE
        finally:
            with suppress(OSError):
                probe.unlink()

    def _refusal(self, content: str) -> UserError:
        return UserError(
            f'{self.folder} is in use. {_holder(content)} Wait for its end, or take another folder or name. If it has '
            f'ended for sure, remove {self.file}.'
        )

    def _read(self) -> str | None:
        try:
            return self.file.read_text(encoding='utf-8')
        except OSError:
            return None

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            with suppress(OSError):
                if self._read() == self._content:
                    os.utime(self.file)


def _this_process() -> dict[str, Any]:
    """Who this process is: numbers of processes count on one machine, since its start, in one container."""
    return {
        'host': socket.gethostname(),
        'process': os.getpid(),
        'start': _start_of(os.getpid()),
        'boot': _content_of('/proc/sys/kernel/random/boot_id'),
        'space': _process_space(),
    }


def _start_of(process: int) -> str | None:
    """When a process of this machine started, in units of the system; empty where it does not tell; None for none."""
    try:
        os.kill(process, 0)
    except PermissionError:
        pass  # it lives, and is someone else's
    except (OSError, OverflowError):
        return None
    # The second entry, the name of the program, is in brackets and may hold blanks.
    entries = _content_of(f'/proc/{process}/stat').rpartition(')')[2].split()
    if entries[:1] == ['Z']:
        return None
    return entries[19] if len(entries) > 19 else ''


def _process_space() -> str:
    try:
        return os.readlink('/proc/self/ns/pid')
    except OSError:
        return ''


def _content_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding='utf-8').strip()
    except OSError:
        return ''


def _parsed(content: str) -> dict[str, Any]:
    try:
        holder = json.loads(content)
    except ValueError:  # just being written, or not ours
        return {}
    return holder if isinstance(holder, dict) else {}


def _holder(content: str) -> str:
    holder = _parsed(content)
    if not holder:
        return 'Another process is beginning there.'
    return (
        f'Process {holder.get("process")} on {holder.get("host")} does {holder.get("doing")} there since '
        f'{holder.get("since")}.'
    )
