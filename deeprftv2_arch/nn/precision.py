"""What stays in float32 under autocast: norms, spectra, the scan, and the maps that are undone in backward.

torch decides per operation and per device what autocast runs in half precision: layer norm, for one, is forced to
float32 on CUDA but not on the CPU, and the Fourier transform is left to its input. Here it is decided once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` itself, or in float32 if it is in half precision."""
    return x.float() if x.dtype in HALF else x


def require_float32(x: Tensor, weight: Tensor) -> None:
    """Refuse half precision other than autocast to bfloat16.

    The first value of a spectrum is the sum of the map: for a 256x256 crop of ones 65,536, beyond float16's 65,504.

    Args:
        x: What a network is given.
        weight: Any of its weights.

    Raises:
        ValueError: One of them is in half precision, or autocast is on for float16.
    """
    advice = 'Keep weights and images in float32 and use torch.autocast(device, torch.bfloat16).'
    if weight.dtype in HALF or x.dtype in HALF:
        dtype = weight.dtype if weight.dtype in HALF else x.dtype
        raise ValueError(f'The network does not compute with weights or images in {dtype}. {advice}')
    if autocasts_to_half(x.device) and torch.get_autocast_dtype(x.device.type) == torch.float16:
        raise ValueError(f'autocast to torch.float16: sums over an image pass its largest number, 65,504. {advice}')


def autocast_state(device: torch.device) -> Callable[[], AbstractContextManager]:
    """Return what restores the present state of autocast, for computing something again later.

    Copies of weights in half precision are not cached in it: a copy that was made without autograd would be taken for
    one made with it, and the weight would lose its gradient.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype=dtype, enabled=enabled, cache_enabled=False)


def autocasts_to_half(device: torch.device) -> bool:
    """Whether autocast to half precision is on for a device."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Return a context in which operations on a device compute in the precision of their inputs."""
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
