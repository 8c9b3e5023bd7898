"""Files that are either finished or absent, and the question whether one is up to date."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from deeprftv2_arch.prepare.plan import OutputDirs

_SECOND_NS = 1_000_000_000

LINKS = ('symbolic', 'hard')


def is_current(target: Path, source: Path) -> bool:
    """Whether ``target`` was made of ``source`` as it is now: it then carries the time of its source."""
    try:
        made, changed = target.stat().st_mtime_ns, source.stat().st_mtime_ns
    except FileNotFoundError:
        return False
    # Some file systems keep fractions of a second to a few digits, others not at all and count in twos (FAT).
    whole_seconds = made % _SECOND_NS == 0 and changed % _SECOND_NS != 0
    tolerance = 2 * _SECOND_NS if whole_seconds else _SECOND_NS // 1000
    return abs(made - changed) < tolerance


def is_current_copy(target: Path, source: Path, link: str | None) -> bool:
    """Whether ``target`` is a whole copy of ``source``, or the link to it that was asked for."""
    if target.is_symlink() != (link == 'symbolic') or not is_current(target, source):
        return False
    if link:
        return target.samefile(source)
    return target.stat().st_size == source.stat().st_size and not target.samefile(source)


def write_file(dirs: OutputDirs, file: str, source: Path, write: Callable[[Path], None]) -> None:
    """Make a file in the scratch folder and move it to its own when it is finished, with the time of its source.

    Args:
        dirs: Folders for the finished and for the unfinished file.
        file: Path below ``dirs.out``.
        source: The file it is made of.
        write: Writes the content to the path that it is given.
    """
    target, unfinished = dirs.out / file, dirs.scratch / file.replace('/', '%')
    unfinished.unlink(missing_ok=True)
    write(unfinished)
    if not unfinished.samefile(source):
        times = source.stat()
        os.utime(unfinished, ns=(times.st_atime_ns, times.st_mtime_ns))
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(unfinished, target)


def copy_or_link(source: Path, link: str | None) -> Callable[[Path], None]:
    """Return the ``write`` of :func:`write_file` that copies ``source`` or links to it."""
    source = source.resolve()

    def write(target: Path) -> None:
        if link == 'symbolic':
            target.symlink_to(source)
        elif link == 'hard':
            target.hardlink_to(source)
        else:
            shutil.copyfile(source, target)

    return write
