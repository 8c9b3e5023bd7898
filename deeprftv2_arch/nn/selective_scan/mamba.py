"""The selective scan of the `mamba_ssm` package, for CUDA, where its compiled kernel is really present.

The package imports without its kernel too (a source install may skip it, newer versions build it on request only), so
the test is the extension module `selective_scan_cuda`, not the package.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


@cache
def _interface():
    """Return the module with `selective_scan_fn`, or None with the reason."""
    try:
        import selective_scan_cuda  # noqa: F401  (the compiled kernel itself)
        from mamba_ssm.ops import selective_scan_interface
    except (ImportError, OSError) as error:  # OSError: built against another torch or CUDA
        return None, f'its kernel selective_scan_cuda cannot be imported ({error})'
    if getattr(selective_scan_interface, 'selective_scan_cuda', None) is None:
        return None, 'mamba_ssm was installed without its kernel selective_scan_cuda'
    return selective_scan_interface, ''


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here, or an empty string."""
    if device.type != 'cuda' or dtype != torch.float32:
        return 'it computes float32 on CUDA'
    return _interface()[1]


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; the package wants (B, D, L)."""
    u, delta, B, C = (x.transpose(1, 2).contiguous() for x in (u, delta, B, C))
    interface, _ = _interface()
    y = interface.selective_scan_fn(u, delta, A, B, C, D, delta_bias=delta_bias, delta_softplus=True)
    return y.transpose(1, 2)
