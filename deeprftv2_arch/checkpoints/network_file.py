"""A network in one file: a safetensors file whose metadata hold the options that its weights belong to."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeprftv2_arch.checkpoints.io import pick_weights, read_checkpoint
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError

METADATA_KEY = 'network_g'
"""Where the options stand among the metadata, as JSON."""


@dataclass(frozen=True)
class NetworkFile:
    """The weights of a network and what it takes to build it.

    Attributes:
        type: The name that the network is registered under.
        options: Its arguments, as an option file gives them below `network_g`.
        weights: Its state dict; floating point numbers are in float32.
    """

    type: str
    options: dict[str, Any]
    weights: dict[str, Tensor]


def save_network_file(
    path: str | Path, network_type: str, options: Mapping[str, Any], weights: Mapping[str, Tensor], half: bool = True
) -> Path:
    """Write a network for `load_network_file`, whole or not at all.

    Args:
        path: Where to; ends in `.safetensors`.
        network_type: The name that the network is registered under.
        options: Its arguments, without `type`.
        weights: Its state dict.
        half: Store numbers in float16, but for tensors with values that float16 cannot hold.

    Raises:
        UserError: The file cannot be written, has another ending, or the options are no plain values.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        raise UserError(f'{path}: a network is written as a safetensors file. Let the name end in .safetensors.')
    try:
        description = json.dumps({'type': network_type, **options})
    except TypeError as error:
        raise UserError(f'{path}: network_g: {error}. Options that travel with weights are plain values.') from error
    stored = {key: (_in_half(value) if half else value).contiguous().clone() for key, value in weights.items()}
    content = _library(path, 'torch').save(stored, metadata={METADATA_KEY: description, 'format': 'pt'})
    return write_atomically(path, content)


def load_network_file(path: str | Path) -> NetworkFile | None:
    """Read what `save_network_file` wrote.

    Returns:
        The network; None if the file is a checkpoint without options inside.

    Raises:
        UserError: There is no such file, or it is damaged, or its options or weights cannot be.
    """
    path = Path(path)
    if path.suffix != '.safetensors' or not path.is_file():
        return None
    content = read_checkpoint(path)
    with _library(path).safe_open(path, framework='pt') as file:
        description = (file.metadata() or {}).get(METADATA_KEY)
    if description is None:
        return None
    try:
        options = dict(json.loads(description))
        network_type = str(options.pop('type'))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f'{path}: the options inside ({METADATA_KEY}) are damaged. Copy the file again.') from error
    weights = {key: _in_float32(value) for key, value in pick_weights(content, path, 'params').items()}
    return NetworkFile(network_type, options, weights)


def _in_half(value: Tensor) -> Tensor:
    if value.dtype != torch.float32:
        return value
    half = value.half()
    return half if half.isfinite().all() else value


def _in_float32(value: Tensor) -> Tensor:
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def _library(path: Path, module: str = '') -> Any:
    try:
        return importlib.import_module(f'safetensors.{module}'.rstrip('.'))
    except ImportError as error:
        raise UserError(f'{path}: the package safetensors is not installed. Try: pip install safetensors') from error
