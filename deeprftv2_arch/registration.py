"""How this package gets into BasicSR: the toolbox is mended and imported, then each part of ours registers with it."""

from __future__ import annotations

import functools
import importlib
import logging
from pathlib import Path

import torch

from deeprftv2_arch import toolbox
from deeprftv2_arch.ranks import process_rank

PARTS = ('archs', 'data', 'losses', 'metrics', 'models')


def register_all() -> None:
    """Mend and import the toolbox, then register everything of ours. A second call changes nothing.

    If the toolbox is just being imported, which then is an attached checkout, it will ask for one part after the other.

    Raises:
        ImportError: BasicSR is not installed.
    """
    if toolbox.folder() is None:
        raise ImportError('BasicSR is not installed. Try: pip install --no-build-isolation basicsr==1.4.2')
    if toolbox.being_imported():
        return
    toolbox.mend(toolbox.BEFORE_IMPORT)
    importlib.import_module('basicsr')
    for part in PARTS:
        register(part)
    toolbox.mend(toolbox.AT_START)


def register(part: str) -> None:
    """Register the classes of one sub-package of ours: what the files of an attached checkout call.

    Args:
        part: One of `PARTS`.
    """
    toolbox.mend(toolbox.BEFORE_IMPORT)
    importlib.import_module(f'deeprftv2_arch.{part}')
    if part == 'models':
        toolbox.mend(toolbox.WITH_MODELS)
        toolbox.on_each_start(_start)
        toolbox.add_to_log(in_use)


def in_use() -> str:
    """One line that names the versions and folders of this package, of the toolbox and of torch."""
    from deeprftv2_arch import __version__

    basicsr = importlib.import_module('basicsr')
    return (
        f'deeprftv2_arch {__version__} ({Path(__file__).parent}), '
        f'basicsr {basicsr.__version__} ({Path(basicsr.__file__).parent}), torch {torch.__version__}'
    )


@functools.cache
def announce() -> None:
    """Say once, on rank 0, what is in use."""
    if process_rank() == 0:
        print(in_use(), flush=True)


class _ToolboxLog(logging.Handler):
    """Hands the messages of our building blocks, which know no toolbox, to the toolbox's log."""

    def emit(self, record: logging.LogRecord) -> None:
        log = logging.getLogger('basicsr')
        if log.isEnabledFor(record.levelno):
            log.handle(record)


@functools.cache
def _join_logs() -> None:
    ours = logging.getLogger('deeprftv2_arch')
    ours.setLevel(logging.INFO)
    ours.addHandler(_ToolboxLog())


def _start() -> None:
    """What every start of a training or test calls, whichever script it is."""
    toolbox.mend(toolbox.AT_START)
    announce()
    _join_logs()
