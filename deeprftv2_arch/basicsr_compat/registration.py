"""Registration with BasicSR: it is patched and imported, then each part of ours adds its names."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from deeprftv2_arch.basicsr_compat import patches
from deeprftv2_arch.distributed.env import process_rank
from deeprftv2_arch.utils.errors import UserError

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
    _tell_clashes()
    importlib.import_module(f'deeprftv2_arch.{part}')
    if part == 'models':
        patches.apply(patches.WITH_MODELS)
        patches.on_each_start(_start)
        patches.add_to_log(in_use)


def _tell_clashes() -> None:
    """Have BasicSR say who the two are that want the same name, where it says only that the name is taken."""
    registry: Any = importlib.import_module('basicsr.utils.registry').Registry
    original = registry._do_register
    if hasattr(original, 'original'):
        return

    def _do_register(self: Any, name: str, thing: Any, suffix: str | None = None) -> None:
        full_name = f'{name}_{suffix}' if isinstance(suffix, str) else name
        if full_name in self._obj_map:
            first, second = (sys.modules[each.__module__].__file__ for each in (self._obj_map[full_name], thing))
            raise UserError(
                f'Two want to be {full_name} in the registry {self._name!r}: {first} and {second}. Rename the one that '
                'is yours. To do without ours in a checkout: deeprftv2 attach PATH --detach.'
            )
        original(self, name, thing, suffix)

    patches.patching.replace(registry, '_do_register', _do_register)


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
        if not log.isEnabledFor(record.levelno):
            return
        # To its own handlers alone: our logger passes the record on to the root by itself.
        for handler in log.handlers:
            if record.levelno >= handler.level:
                handler.handle(record)


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
