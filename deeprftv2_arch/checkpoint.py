"""Checkpoint files: read, written whole, and compared with the network that should take them."""

from __future__ import annotations

import logging
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from deeprftv2_arch.errors import UserError

PAUSES = (1, 5, 25)
"""Seconds to wait before trying to write again, for a network drive that is away for a moment."""

SHOWN = 3
"""How many keys of a kind a message names before it only counts."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file written by `torch.save`, onto the CPU.

    Only tensors and plain Python values are unpickled, as torch does since 2.6: a file from the network runs no code.

    Raises:
        UserError: There is no such file, it is damaged, or it holds something else than a dict of plain values.
    """
    if not Path(path).is_file():
        raise UserError(f'There is no checkpoint {path}.')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # an unpickler fed with arbitrary bytes raises all there is
        if isinstance(error, UnpicklingError) and zipfile.is_zipfile(path):
            raise UserError(
                f'{path} holds Python objects beside tensors, which may run code when loaded. If you trust where it '
                'comes from, load it with torch.load(..., weights_only=False) and save its state dict alone.'
            ) from error
        raise UserError(f'{path} is not a checkpoint, or was not written or downloaded to its end.') from error
    if not isinstance(content, Mapping):
        raise UserError(f'{path} holds a {type(content).__name__}, not a checkpoint.')
    return dict(content)


def save_checkpoint(content: Mapping[str, Any], path: str | Path) -> None:
    """Write a file for `read_checkpoint`, whole or not at all. What was there before stays until the new one is done.

    Raises:
        UserError: The file cannot be written, even after a few tries.
    """
    path = Path(path)
    part = path.with_name(f'{path.name}.part')
    for pause in (*PAUSES, None):
        try:
            torch.save(content, part)
            os.replace(part, path)
            return
        except (OSError, RuntimeError) as error:
            if pause is None:
                raise UserError(f'Cannot write {path}: {error} Is the disk full, or the folder gone?') from error
            logging.getLogger('basicsr').warning(f'Cannot write {path}: {error} Next try in {pause} s.')
            time.sleep(pause)
        finally:
            part.unlink(missing_ok=True)


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Where the weights in a file differ from those of a network, or an empty string if they fit.

    Args:
        expected: State dict of the network.
        found: State dict from the file.

    Returns:
        The missing, the unexpected and the wrongly shaped keys: a few of each kind, and their number.
    """
    shapes = [
        f'{key} ({_shape(found[key])} instead of {_shape(expected[key])})'
        for key in expected
        if key in found and _shape(found[key]) != _shape(expected[key])
    ]
    kinds = {
        'missing': [key for key in expected if key not in found],
        'unexpected': [key for key in found if key not in expected],
        'wrongly shaped': shapes,
    }
    return '; '.join(f'{len(keys)} {kind}: {_some(keys)}' for kind, keys in kinds.items() if keys)


def _shape(value: Any) -> str:
    return 'x'.join(map(str, value.shape)) or 'a number' if isinstance(value, Tensor) else type(value).__name__


def _some(keys: list[str]) -> str:
    return ', '.join(keys[:SHOWN]) + (', ...' if len(keys) > SHOWN else '')
