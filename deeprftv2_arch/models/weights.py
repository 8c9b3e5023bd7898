"""Loading the weights of a network, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from deeprftv2_arch.checkpoint import mismatch, read_checkpoint
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.published_keys import from_published, is_published


def load_weights(net: nn.Module, path: str, param_key: str | None = 'params') -> None:
    """Load a checkpoint that must fit the network exactly.

    Weights with the published key names of DeepRFTv2 are translated; the prefix that ``DataParallel`` puts before every
    key is removed.

    Args:
        net: The bare network.
        path: Checkpoint.
        param_key: Key of the state dict in the checkpoint; None if the checkpoint is the state dict itself.

    Raises:
        UserError: If the file cannot be read, lacks ``param_key``, or has missing, unexpected or wrongly shaped keys.
    """
    weights = read_checkpoint(path)
    if param_key is not None:
        if not isinstance(weights.get(param_key), Mapping):
            present = ', '.join(repr(key) for key in list(weights)[:3]) + (', ...' if len(weights) > 3 else '')
            raise UserError(
                f'{path} has no weights under the key {param_key!r}; it has {present or "nothing"}. Set '
                'path.param_key_g to the right key, or to ~ if the file is a bare state dict.'
            )
        weights = weights[param_key]
    weights = {str(key).removeprefix('module.'): value for key, value in weights.items()}
    if is_published(weights):
        weights = from_published(weights)
    if problem := mismatch(net.state_dict(), weights):
        raise UserError(
            f'{path} does not fit this {type(net).__name__}: {problem}. Give network_g the options that the checkpoint '
            'was trained with, or give the checkpoint of this network.'
        )
    net.load_state_dict(weights)
