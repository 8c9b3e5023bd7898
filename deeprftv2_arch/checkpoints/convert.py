"""Conversion of weights between the published key names of DeepRFTv2, ATD and ATD + FKE, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from deeprftv2_arch.checkpoints.io import without_wrappers
from deeprftv2_arch.checkpoints.published_keys import from_published, is_published, to_published
from deeprftv2_arch.utils.errors import UserError

_PARTS_OF_TRAINERS = ('model.', 'net.', 'net_g.', 'netG.', 'network.', 'generator.')


class Converted(NamedTuple):
    """What was made of a checkpoint.

    Attributes:
        groups: Weights under the keys that they had in the checkpoint; ``params`` where there was none.
        names: ``'ours'`` or ``'published'``, the names that they have now.
        left_out: Keys of the checkpoint under which there are no weights of our networks.
    """

    groups: dict[str, dict[str, Tensor]]
    names: str
    left_out: list[str]


def convert_checkpoint(content: Mapping[str, Any]) -> Converted:
    """Convert all weights of our networks in a checkpoint.

    Args:
        content: ``{'params': weights}``, with any other keys in the place of this one or beside it, such as
            ``params_ema``, ``state_dict``, ``netG`` or ``optimizer``; or the weights themselves. What a wrapper put
            before every name is removed.

    Raises:
        UserError: The content has no weights of these networks, or some with published names and some with ours.
    """
    candidates = {str(key): value for key, value in content.items() if _is_weights(value)}
    if not candidates:
        bare = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
        candidates = {'params': bare}
    left_out = [str(key) for key, value in content.items() if str(key) not in candidates]
    if list(candidates) == ['params'] and 'params' not in content:
        left_out = [str(key) for key, value in content.items() if not isinstance(value, Tensor)]
    ours: dict[str, dict[str, Tensor]] = {}
    published: dict[str, dict[str, Tensor]] = {}
    faults: dict[str, str] = {}
    for name, weights in candidates.items():
        plain = _names_of_network(weights)
        try:
            if is_published(plain):
                ours[name] = from_published(plain)
            else:
                published[name] = to_published(plain)
        except UserError as error:
            faults[name] = str(error)
            if is_published(plain):
                raise UserError(f'{name}: {error}') from error
    if ours and published:
        raise UserError(
            f'{", ".join(ours)} of this checkpoint have published names, {", ".join(published)} have ours. Save them '
            'in two files.'
        )
    groups = ours or published
    if not groups:
        raise UserError('; '.join(f'{name}: {fault}' for name, fault in faults.items()))
    return Converted(groups, 'ours' if ours else 'published', [*left_out, *faults])


def _names_of_network(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove wrappers and, where it stands before all names, that of the trainer's part which is the network."""
    plain = without_wrappers(weights)
    for part in _PARTS_OF_TRAINERS:
        if all(name.startswith(part) for name in plain):
            return without_wrappers({name.removeprefix(part): weight for name, weight in plain.items()})
    return plain


def _is_weights(value: object) -> bool:
    """Whether a value is a state dict: tensors by their names, and nothing else."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(entry, Tensor) for entry in value.values())
