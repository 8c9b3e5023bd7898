"""What must be known of the weights of a test to read its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from deeprftv2_arch.checkpoints.io import read_checkpoint


def weight_notices(net: nn.Module, paths: Mapping[str, Any], anew: Sequence[str]) -> list[str]:
    """Say in a sentence each where the weights of a test may not be the ones that are meant.

    Args:
        net: The network.
        paths: The section ``path`` of the options.
        anew: Keys of the weights that were left out of what was loaded.
    """
    path = paths.get('pretrain_network_g')
    if path is None:
        has_weights = any(True for _ in net.parameters())
        return ['The weights are random: path.pretrain_network_g names no checkpoint.'] if has_weights else []
    notices = []
    if anew:
        notices.append(f'Weights that were not loaded are random (path.strict_load_except_g): {", ".join(anew)}.')
    if paths.get('param_key_g', 'params') == 'params' and 'params_ema' in read_checkpoint(path):
        notices.append(
            f'{path} holds params_ema too, the running mean of the weights, which its training validated. Tested are '
            'the raw weights, params. For the mean: path.param_key_g: params_ema.'
        )
    return notices
