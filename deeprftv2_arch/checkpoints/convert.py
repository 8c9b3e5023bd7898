"""Conversion of weights between the published key names of DeepRFTv2, ATD and ATD + FKE, and ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from deeprftv2_arch.checkpoints.published_keys import from_published, is_published, to_published


def convert_checkpoint(content: Mapping[str, Any]) -> tuple[dict[str, dict[str, Tensor]], str]:
    """Convert everything in a checkpoint.

    Args:
        content: ``{'params': weights}``, also with ``params_ema`` or ``state_dict`` as keys, or the weights themselves.
            A leading ``module.`` of the keys, left by data-parallel training, is removed.

    Returns:
        The weights under the same keys (``params`` where there was none), and ``'ours'`` or ``'published'``, the names
        they have now.

    Raises:
        UserError: The content is no weights of these networks.
    """
    nested = {key: value for key, value in content.items() if isinstance(value, Mapping)}
    groups = {}
    for name, weights in (nested or {'params': content}).items():
        groups[name] = {key.removeprefix('module.'): tensor for key, tensor in weights.items()}
    if all(is_published(weights) for weights in groups.values()):
        return {name: from_published(weights) for name, weights in groups.items()}, 'ours'
    return {name: to_published(weights) for name, weights in groups.items()}, 'published'
