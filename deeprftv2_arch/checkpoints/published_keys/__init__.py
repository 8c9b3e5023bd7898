"""Published key names and ours.

Each family of networks has a module of its own; the keys of a state dict tell which one it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from deeprftv2_arch.checkpoints.published_keys import atd, deeprftv2
from deeprftv2_arch.utils.errors import UserError

__all__ = ['from_published', 'is_published', 'network_type', 'read_options', 'to_published']


def is_published(state: Mapping[str, Any]) -> bool:
    """Whether the keys are published names of DeepRFTv2, ATD or ATD + FKE."""
    return deeprftv2.is_published(state) or atd.is_published(state)


def network_type(state: Mapping[str, Tensor]) -> str:
    """Return what `network_g.type` must be for published weights.

    Raises:
        UserError: The names are not published ones.
    """
    return _family(state).network_type(state)


def read_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read off published weights the keyword arguments of their network, as far as weights tell them.

    Raises:
        UserError: The names are not published ones, or a key that tells the shape is missing.
    """
    return _family(state).read_options(state)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give published weights our names and shapes. Tensors are shared with ``state``, not copied.

    Raises:
        UserError: The names are not published ones; or a key is missing, left over or wrongly shaped.
    """
    return _family(state).from_published(state)


def to_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give weights of our networks the published names and shapes.

    Raises:
        UserError: A key has no published name.
    """
    family = atd if atd.is_ours(state) else deeprftv2
    return family.to_published(state)


def _family(state: Mapping[str, Any]) -> ModuleType:
    for family in (deeprftv2, atd):
        if family.is_published(state):
            return family
    raise UserError(
        f'These are not published weights of DeepRFTv2, ATD or ATD + FKE: neither a key that starts with '
        f'{deeprftv2.PREFIX} nor {atd.MARK} is among them.'
    )
