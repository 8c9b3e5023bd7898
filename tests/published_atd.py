"""The published parameter values of the golden files of ATD and ATD + FKE."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import published
import torch
from torch import Tensor, nn

NORMS = ('norm', 'norm1', 'norm2', 'norm3', 'out_norm')
# Scale and shift of the values of single parameters, by the last part of their key; any other weight is scaled by its
# number of inputs.
SPREAD = {
    'sigma': (0.5, 0),
    'scale': (0.3, 0.5),
    'logit_scale': (0.3, np.log(10)),
    'td': (1, 0),
    'relative_position_bias_table': (0.2, 0),
    'A_logs': (0.1, np.log(np.arange(1, 9))),
    'Ds': (0.1, 1),
    'dt_projs_bias': (0.5, -4),
    'dt_projs_weight': (0.3, 0),
    'bias': (0.05, 0),
    **{f'alpha{level}': (0.1, 0.5) for level in range(4)},
}


def image(height: int, width: int) -> Tensor:
    """The input of this size: (1, 3, H, W), float32 values in [0, 1)."""
    values = np.random.default_rng(1000 * height + width).random((1, 3, height, width))
    return torch.from_numpy(values.astype(np.float32))


def value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of the parameter with this published key, rounded to float32."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    *_, parent, last = ('', *key.split('.'))
    if parent in NORMS:
        found = (1 if last == 'weight' else 0) + 0.1 * noise
    elif last in SPREAD:
        scale, shift = SPREAD[last]
        found = shift + scale * noise
    elif last == 'x_proj_weight':
        found = noise / np.sqrt(shape[-1])
    else:
        found = noise / np.sqrt(np.prod(shape[1:]))
    return found.astype(np.float32)


def fill(
    module: nn.Module, rename: Callable[[str], str], dtype: torch.dtype = torch.float64, smooth: bool = False
) -> nn.Module:
    """Give every parameter of a module its published value.

    Args:
        module: One of ours.
        rename: Turns our keys into the published ones.
        dtype: Type of the weights.
        smooth: Weaken the category attention, whose sorting multiplies rounding errors; for checks in float32.
    """
    published.fill(module, rename, dtype, value)
    if smooth:
        with torch.no_grad():
            for key, parameter in module.named_parameters():
                if rename(key).endswith('attn_aca.proj.weight'):
                    parameter *= 0.02
    return module
