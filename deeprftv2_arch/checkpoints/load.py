"""Loading the weights of a network, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from deeprftv2_arch.checkpoints.io import mismatch, pick_weights, read_checkpoint
from deeprftv2_arch.checkpoints.published_keys import from_published, is_published
from deeprftv2_arch.utils.errors import UserError


def load_weights(net: nn.Module, path: str, param_key: str | None = 'params', anew: Sequence[str] = ()) -> list[str]:
    """Load a checkpoint that must fit the network exactly.

    Weights with the published key names of DeepRFTv2 or ATD are translated.

    Args:
        net: The bare network.
        path: Checkpoint, also in the format of safetensors.
        param_key: Key of the state dict in the checkpoint; None if the checkpoint is the state dict itself.
        anew: Parts of the network, by the names of their modules or parameters, that keep the weights they have. What
            the checkpoint holds for them may have other shapes, or be absent.

    Returns:
        The keys that were not loaded because of ``anew``.

    Raises:
        UserError: If the file cannot be read, lacks ``param_key``, holds values that are not finite, or has missing,
            unexpected or wrongly shaped keys; or if the network has no part of a name in ``anew``.
    """
    weights = pick_weights(read_checkpoint(path), path, param_key)
    if is_published(weights):
        weights = from_published(weights)
    kept, loaded = _split(net.state_dict(), anew)
    for part in anew:
        if not any(_belongs(key, [part]) for key in kept):
            parts = ', '.join(dict.fromkeys(key.partition('.')[0] for key in net.state_dict()))
            raise UserError(
                f'path.strict_load_except_g: {type(net).__name__} has no part {part!r}. Its parts: {parts}.'
            )
    _, weights = _split(weights, anew)
    if problem := mismatch(loaded, weights):
        raise UserError(
            f'{path} does not fit this {type(net).__name__}: {problem}. Give network_g the options that the checkpoint '
            'was trained with, or give the checkpoint of this network.'
        )
    net.load_state_dict(weights | kept)
    return list(kept)


def _split(state: Mapping[str, Tensor], parts: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a state dict into what belongs to the parts, and the rest."""
    inside: dict[str, Tensor] = {}
    outside: dict[str, Tensor] = {}
    for key, value in state.items():
        group = inside if _belongs(key, parts) else outside
        group[key] = value
    return inside, outside


def _belongs(key: str, parts: Sequence[str]) -> bool:
    return any(key == part or key.startswith(f'{part}.') for part in parts)
