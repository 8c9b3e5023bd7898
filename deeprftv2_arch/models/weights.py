"""Loading the weights of a network, whole or not at all."""

from __future__ import annotations

from torch import nn

from deeprftv2_arch.checkpoint import mismatch, pick_weights, read_checkpoint
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.published_keys import from_published, is_published


def load_weights(net: nn.Module, path: str, param_key: str | None = 'params') -> None:
    """Load a checkpoint that must fit the network exactly.

    Weights with the published key names of DeepRFTv2 are translated.

    Args:
        net: The bare network.
        path: Checkpoint, also in the format of safetensors.
        param_key: Key of the state dict in the checkpoint; None if the checkpoint is the state dict itself.

    Raises:
        UserError: If the file cannot be read, lacks ``param_key``, holds values that are not finite, or has missing,
            unexpected or wrongly shaped keys.
    """
    weights = pick_weights(read_checkpoint(path), path, param_key)
    if is_published(weights):
        weights = from_published(weights)
    if problem := mismatch(net.state_dict(), weights):
        raise UserError(
            f'{path} does not fit this {type(net).__name__}: {problem}. Give network_g the options that the checkpoint '
            'was trained with, or give the checkpoint of this network.'
        )
    net.load_state_dict(weights)
