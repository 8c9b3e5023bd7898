"""Messages for exceptions that stand for a user's mistake."""

from __future__ import annotations

import errno
import re
import traceback
from pathlib import Path

import torch
from torch import distributed as dist

from deeprftv2_arch.basicsr_compat import patches
from deeprftv2_arch.distributed.failure_watch import LOST, is_lost
from deeprftv2_arch.nn.selective_scan import BackendError
from deeprftv2_arch.utils.errors import UserError

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""A disk, a share of it or a file that takes no more."""

PLACE_ERRORS = (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError)
"""What the system raises where a run is not allowed, or not able, to make its folders and files."""


def user_message(error: Exception) -> str | None:
    """Put an exception that stands for a user's mistake into words.

    Returns:
        A message, or None: then the traceback is what the user, or we, must read.
    """
    if isinstance(error, UserError | BackendError):
        return _message(error)
    return _message_of_machine(error) or _message_of_basicsr(error)


def _message_of_machine(error: Exception) -> str | None:
    """Name what is wrong with processes, memory, disks or rights."""
    if isinstance(error, dist.DistNetworkError) and not dist.is_initialized():
        return (
            f'The processes of this run cannot meet: {_first_line(error)} Take another port (dist_params.port for '
            'Slurm, else --master_port of torchrun), or have all machines reach the first.'
        )
    if is_lost(error):
        return LOST
    if isinstance(error, torch.OutOfMemoryError):
        return f'The GPU has too little memory: train with a smaller batch or crop, test with tiles. {error}'
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        place = f': {error.filename}' if error.filename else ''
        return f'{error.strerror}{place}. Make room, then go on: --auto_resume.'
    if isinstance(error, PLACE_ERRORS) and error.filename:
        return f'{error.strerror}: {error.filename}. Correct the folder or its rights, or start in another one.'
    return None


def _message_of_basicsr(error: Exception) -> str | None:
    """Name what BasicSR's own code stumbled over, and where.

    BasicSR has no class for users' mistakes: it raises what Python or an `assert` offers. So exceptions of those kinds
    are reported with the place where they were raised; any other is not explained.
    """
    folder = patches.folder()
    file, number, line = _origin(error)
    if folder is None or not Path(file).is_relative_to(folder):
        return None
    text, place = _message(error), f'({Path(file).relative_to(folder.parent)}, line {number})'
    if isinstance(error, KeyError) and 'opt' in line:
        return f'The option file has no key {text}, which is read by: {line} {place}'
    if isinstance(error, OSError) and error.filename:
        return f'{error.strerror}: {error.filename} {place}'
    is_complaint = isinstance(error, AssertionError | NotImplementedError | ValueError | KeyError) and text != ''
    is_wrong_call = isinstance(error, TypeError) and 'argument' in text
    return f'{text} {place}' if is_complaint or is_wrong_call else None


# A data loader's worker hands its exception on as the text of a traceback.
WORKER_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in .+\n +(.+)$', flags=re.MULTILINE)
WORKER_MESSAGE = re.compile(r'^(?:\w+\.)*\w*Error: ', flags=re.MULTILINE)


def _message(error: Exception) -> str:
    text = str(error)
    return WORKER_MESSAGE.split(text)[-1].strip() if WORKER_FRAME.search(text) else text


def _first_line(error: Exception) -> str:
    line = str(error).partition('\n')[0].rstrip('.')
    return f'{line}.'


def _origin(error: Exception) -> tuple[str, str, str]:
    """Return file, number and text of the line that raised an exception, here or in a data loader's worker."""
    in_worker = WORKER_FRAME.findall(str(error))
    if in_worker:
        return in_worker[-1]
    last = traceback.extract_tb(error.__traceback__)[-1]
    return last.filename, str(last.lineno), last.line or ''
