"""The published parameter values of the golden files, and how ours are compared with them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent / 'golden'
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5}
NORMS = ('norm1.', 'norm2.', 'norm_mamba.', 'out_norm.', 'end_ker1.norm.')
WITH_DIRECTION = ('x_proj_weight', 'dt_projs_weight', 'dt_projs_bias')


def load(name: str) -> dict[str, np.ndarray]:
    """All arrays of a golden file."""
    with np.load(GOLDEN / f'{name}.npz') as arrays:
        return dict(arrays)


def image(seed: int, *shape: int) -> Tensor:
    """The input with this seed: (N, C, H, W), float32 values in [0, 1]."""
    return torch.from_numpy(np.random.default_rng(seed).random(shape).astype(np.float32))


def value(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The value of the parameter with this published key, in float64."""
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    last = key.rpartition('.')[2]
    if last in ('alpha0', 'alpha1', 'alpha2', 'alpha3'):
        return 0.5 + 0.1 * noise
    if last in ('lamb_l', 'alpha'):
        return 1 + 0.1 * noise
    if last in ('beta', 'gamma', 'lamb_g'):
        return 0.3 + 0.1 * noise
    if last == 'Ds':
        return 1 + 0.1 * noise
    if last == 'A_logs':
        return np.log(np.arange(1, 9))[None] + 0.05 * noise
    if last == 'dt_projs_bias':
        return -3 + 0.5 * noise
    if last == 'weight' and any(norm in key for norm in NORMS):
        return 1 + 0.1 * noise
    if last == 'bias':
        return 0.05 * noise
    if last in ('x_proj_weight', 'dt_projs_weight'):
        return noise / np.sqrt(shape[-1])
    return noise / np.sqrt(np.prod(shape[1:]))


def fill(
    module: nn.Module,
    rename: Callable[[str], str],
    dtype: torch.dtype = torch.float64,
    value: Callable[[str, tuple[int, ...]], np.ndarray] = value,
) -> nn.Module:
    """Give every parameter of a module its published value; ``rename`` turns our keys into the published ones."""
    state = {}
    for key, tensor in module.state_dict().items():
        name = rename(key)
        shape = (1, *tensor.shape) if name.endswith(WITH_DIRECTION) else tuple(tensor.shape)
        state[key] = torch.from_numpy(value(name, shape)).reshape(tensor.shape).to(dtype)
    module.to(dtype).load_state_dict(state)
    return module


def distance(ours: Tensor, golden: np.ndarray) -> float:
    """Largest difference as a part of the largest golden value."""
    golden = torch.from_numpy(np.asarray(golden, dtype=np.float64))
    assert ours.shape == golden.shape
    return float((ours.detach().double() - golden).abs().max() / golden.abs().max())
