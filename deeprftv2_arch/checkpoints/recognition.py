"""Which network a checkpoint belongs to: told by what is stored with the weights, beside them, or by the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from deeprftv2_arch.checkpoints.io import pick_weights, read_checkpoint
from deeprftv2_arch.checkpoints.network_file import NetworkFile, load_network_file
from deeprftv2_arch.checkpoints.published_keys import (
    from_published,
    is_published,
    network_type,
    read_options,
    to_published,
)
from deeprftv2_arch.utils.errors import UserError

OPTIONS_FILE = 'resolved_options.yml'
"""What a training writes into its folder, one above its checkpoints."""

GROUPS = ('params_ema', 'params', 'state_dict')
"""Keys under which checkpoints hold a state dict, the better one first."""


def read_network(path: str | Path) -> NetworkFile | None:
    """Read a checkpoint together with the options of the network it belongs to.

    Options are looked for in the file itself, then in the folder of the training, then read off the keys and shapes of
    the weights, under published names of DeepRFTv2, ATD and ATD + FKE or ours.

    Args:
        path: A file of `save_network_file`, a checkpoint of a training, or a published one.

    Returns:
        The network; None if nothing tells which one it is.

    Raises:
        UserError: The file is missing or damaged, or its options are.
    """
    path = Path(path)
    network = load_network_file(path)
    if network is not None:
        return network
    weights = read_weights(path)
    if is_published(weights):
        return NetworkFile(network_type(weights), read_options(weights), from_published(weights))
    options = _options_beside(path)
    if options is not None:
        return NetworkFile(str(options.pop('type', None)), options, weights)
    return _recognize(weights)


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a checkpoint; of several, the averaged one (`params_ema`).

    Raises:
        UserError: The file is missing or damaged, or holds no weights.
    """
    content = read_checkpoint(path)
    group = next((name for name in GROUPS if isinstance(content.get(name), Mapping)), None)
    weights = pick_weights(content, path, group)
    if not any(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f'{path} holds no weights, but {", ".join(map(repr, list(weights)[:3])) or "nothing"}.')
    return weights


def _options_beside(path: Path) -> dict[str, Any] | None:
    """`network_g` of the training whose folder a checkpoint lies in."""
    for folder in (path.parent, path.resolve().parent.parent):
        file = folder / OPTIONS_FILE
        if not file.is_file():
            continue
        try:
            options = yaml.safe_load(file.read_text(encoding='utf-8'))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f'{file} cannot be read, so the options of {path.name} are not known.') from error
        network = options.get('network_g') if isinstance(options, dict) else None
        if not isinstance(network, dict):
            raise UserError(f'{file} has no network_g, so the options of {path.name} are not known.')
        return dict(network)
    return None


def _recognize(weights: Mapping[str, Tensor]) -> NetworkFile | None:
    """Networks of ours by the names of their weights, as far as those tell."""
    try:
        published = to_published(weights)
        return NetworkFile(network_type(published), read_options(published), dict(weights))
    except (UserError, KeyError):
        return None
