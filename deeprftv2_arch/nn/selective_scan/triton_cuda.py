"""The selective scan on CUDA as a Triton kernel."""

from __future__ import annotations

import torch


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here, or an empty string."""
    return 'it computes float32 on CUDA' if device.type != 'cuda' else 'the kernel is not there yet'
