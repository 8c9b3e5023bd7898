"""Registration with BasicSR: it is patched and imported, then each part of ours adds its names."""

from __future__ import annotations

import functools
import importlib
import logging
from pathlib import Path

import torch

from deeprftv2_arch.basicsr_compat import patches
from deeprftv2_arch.distributed.env import process_rank

PARTS = ('archs', 'data', 'losses', 'metrics', 'models')


def register_all() -> None:
    """Patch and import BasicSR, then register everything of ours. A second call changes nothing.

    If BasicSR is just being imported, which then is an attached checkout, it will ask for one part after the other.

    Raises:
        ImportError: BasicSR is not installed.
    """
    if patches.folder() is None:
        raise ImportError('BasicSR is not installed. Try: pip install --no-build-isolation basicsr==1.4.2')
    if patches.being_imported():
        return
    patches.apply(patches.BEFORE_IMPORT)
    importlib.import_module('basicsr')
    for part in PARTS:
        register(part)
    patches.apply(patches.AT_START)


def register(part: str) -> None:
    """Register the classes of one sub-package of ours; the files of an attached checkout call this.

    Args:
        part: One of `PARTS`.
    """
    patches.apply(patches.BEFORE_IMPORT)
    importlib.import_module(f'deeprftv2_arch.{part}')
    if part == 'models':
        patches.apply(patches.WITH_MODELS)
        patches.on_each_start(_start)
        patches.add_to_log(in_use)


def in_use() -> str:
    """Compose one line that names the versions and folders of this package, of BasicSR and of torch."""
    from deeprftv2_arch._version import __version__

    basicsr = importlib.import_module('basicsr')
    return (
        f'deeprftv2_arch {__version__} ({Path(__file__).parents[1]}), '
        f'basicsr {basicsr.__version__} ({patches.folder()}), torch {torch.__version__}'
    )


@functools.cache
def announce() -> None:
    """Print once, on rank 0, what is in use."""
    if process_rank() == 0:
        print(in_use(), flush=True)


class _BasicSRLog(logging.Handler):
    """Hand the messages of our building blocks, which know no BasicSR, to BasicSR's log."""

    def emit(self, record: logging.LogRecord) -> None:
        log = logging.getLogger('basicsr')
        if log.isEnabledFor(record.levelno):
            log.handle(record)


@functools.cache
def _join_logs() -> None:
    ours = logging.getLogger('deeprftv2_arch')
    ours.setLevel(logging.INFO)
    ours.addHandler(_BasicSRLog())


def _start() -> None:
    """Prepare a training or test that begins, whichever script it is."""
    patches.apply(patches.AT_START)
    announce()
    _join_logs()
