"""The selective scan as the paper writes it, step after step: slow, any dtype, what the backends must equal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here: never."""
    return ''


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Run the recurrence step by step; arguments and result as in `selective_scan`, gradients by autograd.

    Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", equation 2 with the
    zero-order hold for A and the Euler step for B of the authors' released kernels.
    """
    step = F.softplus(delta + delta_bias)
    state = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(step[:, t, :, None] * A)
        state = decay * state + (step[:, t] * u[:, t])[..., None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(-1) + D * u[:, t])
    return torch.stack(outputs, dim=1)
