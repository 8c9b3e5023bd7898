"""Checkpoint files: read, written whole, and compared with the network that should take them."""

from __future__ import annotations

import importlib
import logging
import os
import pickletools
import re
import time
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from deeprftv2_arch.utils.atomic_file import cannot_write
from deeprftv2_arch.utils.errors import UserError

PAUSES = (1, 5, 25)
"""Seconds to wait before trying to write again, for a network drive that is away for a moment."""

SHOWN = 3
"""How many keys of a kind a message names before it only counts."""

_WRAPPERS = ('module.', '_orig_mod.')

_GROUP_END = '/'
"""What parts the name of a group from a key in a safetensors file, which has no groups; no key of a network has it."""

_FOREIGN_OBJECT = re.compile(r'GLOBAL (?!of)([\w.]+)')
"""How torch names an object that it does not load."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a file written by `torch.save`, or a safetensors file, onto the CPU.

    Only tensors and plain Python values are unpickled, as torch does since 2.6: a file from the network runs no code.

    Returns:
        The content. That of a safetensors file lies under `params`, unless `save_checkpoint` wrote several groups.

    Raises:
        UserError: There is no such file, it is damaged, or it holds something else than a dict of plain values.
    """
    if not Path(path).is_file():
        raise UserError(f'There is no checkpoint {path}.')
    if Path(path).suffix == '.safetensors':
        return _read_safetensors(path)
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # an unpickler fed with arbitrary bytes raises all there is
        foreign = _foreign_object(path, error)
        if foreign or (isinstance(error, UnpicklingError) and zipfile.is_zipfile(path)):
            named = f' ({foreign})' if foreign else ''
            raise UserError(
                f'{path} holds Python objects beside tensors{named}, which may run code '
                'when loaded. If you trust where it comes from, load it with torch.load(..., weights_only=False) and '
                'save its state dict alone.'
            ) from error
        raise UserError(f'{path} is not a checkpoint, or was not written or downloaded to its end.') from error
    _check_sums(path)
    if not isinstance(content, Mapping):
        raise UserError(f'{path} holds a {type(content).__name__}, not a checkpoint.')
    return dict(content)


def save_checkpoint(content: Mapping[str, Any], path: str | Path) -> None:
    """Write a file for `read_checkpoint`, whole or not at all. What was there before stays until the new one is done.

    The bytes are on the disk before the file takes its name, so that a power failure leaves no empty file either.

    Args:
        content: Anything that torch saves; groups of tensors alone, such as `params`, for a safetensors file.
        path: Where to; `.safetensors` at its end asks for that format.

    Raises:
        UserError: The file cannot be written, even after a few tries.
    """
    path = Path(path)
    part = path.with_name(f'{path.name}.part')
    for pause in (*PAUSES, None):
        try:
            _write_whole(content, part, path)
            return
        except (OSError, RuntimeError) as error:
            cause = getattr(error, 'strerror', None)  # torch names the place in its own sources instead
            cause = cause or 'the disk takes no more of it'
            if pause is None:
                raise cannot_write(path, cause) from error
            logging.getLogger('basicsr').warning(f'Cannot write {path}: {cause}. Next try in {pause} s.')
            time.sleep(pause)
        finally:
            with suppress(OSError):
                part.unlink()


def _write_whole(content: Mapping[str, Any], part: Path, path: Path) -> None:
    """Write a file as `part`, have it on the disk, and give it its name."""
    part.touch()  # torch does not say why it cannot open a file
    if path.suffix == '.safetensors':
        _write_safetensors(content, part, path)
    else:
        torch.save(content, part)
    _sync(part)
    os.replace(part, path)
    if os.name == 'posix':
        _sync(path.parent)


def plain_weights(net: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a network as checkpoints hold it: on the CPU, under its names without a wrapper."""
    return {key.removeprefix('module.'): value.cpu() for key, value in net.state_dict().items()}


def plain_state(
    epoch: int, iteration: int, optimizers: Iterable[Optimizer], schedulers: Iterable[LRScheduler]
) -> dict[str, Any]:
    """Collect the state of a training as BasicSR writes and reads it."""
    return {
        'epoch': epoch,
        'iter': iteration,
        'optimizers': [optimizer.state_dict() for optimizer in optimizers],
        'schedulers': [scheduler.state_dict() for scheduler in schedulers],
    }


def pick_weights(content: Mapping[str, Any], path: str | Path, key: str | None) -> dict[str, Tensor]:
    """Take the weights of a network out of a checkpoint.

    What a wrapper put before the keys is removed, see `without_wrappers`.

    Args:
        content: What `read_checkpoint` returned.
        path: Where from, for messages.
        key: Key of the state dict in the checkpoint; None if the checkpoint is the state dict itself.

    Raises:
        UserError: The checkpoint lacks the key, or a weight is NaN or infinite.
    """
    if key is None and Path(path).suffix == '.safetensors':
        key = 'params'
    if key is not None and not isinstance(content.get(key), Mapping):
        raise UserError(
            f'{path} has no weights under the key {key!r}; it has {_some(list(map(repr, content))) or "nothing"}. Set '
            'path.param_key_g to the right key, or to ~ if the file is a bare state dict.'
        )
    state = content if key is None else content[key]
    weights = without_wrappers(state)
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise UserError(f'{path} holds NaN or infinite weights: {_some(broken)}. Take an earlier checkpoint.')
    return weights


def without_wrappers(state: Mapping[str, Any]) -> dict[str, Any]:
    """Remove from the keys of a state dict what `DataParallel` and `torch.compile` put before them.

    >>> without_wrappers({'module._orig_mod.conv.weight': 1})
    {'conv.weight': 1}
    """
    plain = {}
    for key, value in state.items():
        name = str(key)
        while name.startswith(_WRAPPERS):
            name = name.partition('.')[2]
        plain[name] = value
    return plain


def mismatch(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Describe how the weights in a file differ from those of a network; an empty string if they fit.

    >>> mismatch({'weight': torch.ones(3, 3), 'bias': torch.ones(3)}, {'weight': torch.ones(3, 1)})
    '1 missing: bias; 1 wrongly shaped: weight (3x1 instead of 3x3)'

    Args:
        expected: State dict of the network.
        found: State dict from the file.

    Returns:
        The missing, the unexpected and the wrongly shaped keys: a few of each kind, and their number.
    """
    kinds: dict[str, list[str]] = {'missing': [], 'unexpected': [], 'wrongly shaped': []}
    for key, tensor in expected.items():
        if key not in found:
            kinds['missing'].append(key)
        elif _shape(found[key]) != _shape(tensor):
            kinds['wrongly shaped'].append(f'{key} ({_shape(found[key])} instead of {_shape(tensor)})')
    kinds['unexpected'] = [key for key in found if key not in expected]
    return '; '.join(f'{len(keys)} {kind}: {_some(keys)}' for kind, keys in kinds.items() if keys)


def _foreign_object(path: str | Path, error: Exception) -> str | None:
    """Find the first object for which a pickle was refused, in torch's words or in a bare pickle itself."""
    if named := _FOREIGN_OBJECT.search(str(error)):
        return named[1]
    texts: list[str] = []
    # Takes the file apart without loading anything. What is no pickle ends it soon.
    with open(path, 'rb') as file, suppress(Exception):
        for operation, argument, _ in pickletools.genops(file):
            if operation.name in ('GLOBAL', 'STACK_GLOBAL'):
                return argument.replace(' ', '.') if argument else '.'.join(texts[-2:])
            if isinstance(argument, str):
                texts.append(argument)
    return None


def _check_sums(path: str | Path) -> None:
    """Compare the checksums that torch writes, and does not compare itself."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise UserError(f'{path} is damaged: the checksum of its part {damaged} does not match.')


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, written to the disk itself."""
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _safetensors(path: str | Path) -> ModuleType:
    try:
        return importlib.import_module('safetensors.torch')
    except ImportError as error:
        raise UserError(f'{path}: the package safetensors is not installed. Try: pip install safetensors') from error


def _read_safetensors(path: str | Path) -> dict[str, Any]:
    library = _safetensors(path)
    try:
        tensors = library.load_file(path)
    except Exception as error:  # of a class of its own, made in Rust
        raise UserError(f'{path} is not a safetensors file, or was not written to its end: {error}.') from error
    groups: dict[str, Any] = {}
    for name, tensor in tensors.items():
        group, _, key = name.rpartition(_GROUP_END)
        groups.setdefault(group or 'params', {})[key] = tensor
    return groups


def _write_safetensors(content: Mapping[str, Any], part: Path, path: Path) -> None:
    library = _safetensors(path)
    if not all(isinstance(group, Mapping) for group in content.values()):
        raise UserError(f'{path}: a safetensors file takes groups of tensors alone. Save it as .pth.')
    bare = list(content) == ['params']
    # The format knows no views into a shared storage.
    tensors = {}
    for name, group in content.items():
        prefix = '' if bare else f'{name}{_GROUP_END}'
        for key, value in group.items():
            tensors[f'{prefix}{key}'] = value.contiguous().clone()
    try:
        library.save_file(tensors, part)
    except Exception as error:
        raise OSError(None, str(error)) from error


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return 'x'.join(map(str, value.shape)) or 'a number'


def _some(keys: list[str]) -> str:
    shown = ', '.join(keys[:SHOWN])
    return f'{shown}, ...' if len(keys) > SHOWN else shown
