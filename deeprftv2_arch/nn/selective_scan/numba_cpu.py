"""The selective scan on the CPU in float32: compiled by Numba, no compiler needed where it runs.

The kernel (`numba_kernels`) goes through time once, with the states in the cache. Threads share the work by samples
and lanes. Backward keeps the inputs and the states at chunk starts and computes the rest again.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.selective_scan import numba_kernels as kernels
from deeprftv2_arch.nn.selective_scan import parallel

# Threads get whole groups of lanes: 16 floats are one cache line and the widest vector register.
_GROUP = 16


def _lane_ranges(features: int, batch: int) -> list[tuple[int, int]]:
    """Cuts the lanes so that batch * ranges jobs keep torch's number of threads busy."""
    groups = -(-features // _GROUP)
    parts = min(groups, -(-torch.get_num_threads() // batch))
    edges = [min(features, groups * part // parts * _GROUP) for part in range(parts + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _forward(u, delta, A, B, C, D, bias, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, D) and, if keep, chunk-start states (B, chunks, N, D)."""
    batch, length, features = u.shape
    y = torch.empty_like(u)
    starts = u.new_empty(batch, -(-length // kernels.CHUNK) if keep else 0, A.shape[1], features)
    rate = (A.t() * kernels.LOG2_E.item()).contiguous().numpy()
    u, delta, B, C, D, bias, y_, starts_ = (x.numpy() for x in (u, delta, B, C, D, bias, y, starts))
    parallel.run(
        [
            partial(kernels.forward, u[i], delta[i], rate, B[i], C[i], D, bias, y_[i], starts_[i], keep, first, last)
            for i in range(batch)
            for first, last in _lane_ranges(features, batch)
        ]
    )
    return y, starts


class _NumbaScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, bias):
        y, starts = _forward(u, delta, A, B, C, D, bias, keep=True)
        ctx.save_for_backward(u, delta, A, B, C, D, bias, starts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        u, delta, A, B, C, D, bias, starts = ctx.saved_tensors
        batch, length, features = u.shape
        du, d_delta = torch.empty_like(u), torch.empty_like(u)
        ranges = _lane_ranges(features, batch)
        dB, dC = (np.zeros((batch, len(ranges), length, A.shape[1]), np.float32) for _ in range(2))
        dA, dD, d_bias = (np.zeros((batch, *shape)) for shape in ((A.shape[1], features), (features,), (features,)))
        rate = A.t().contiguous()
        arrays = [x.numpy() for x in (u, delta, rate, B, C, D, bias, starts, dy.contiguous(), du, d_delta)]
        u_, delta_, rate, B_, C_, D_, bias_, starts_, dy_, du_, d_delta_ = arrays
        parallel.run(
            [
                partial(
                    kernels.backward,
                    u_[i], delta_[i], rate, B_[i], C_[i], D_, bias_, starts_[i], dy_[i], du_[i], d_delta_[i],
                    dA[i], dB[i, part], dC[i, part], dD[i], d_bias[i], first, last,
                )
                for i in range(batch)
                for part, (first, last) in enumerate(ranges)
            ]
        )  # fmt: skip
        dA, dD, d_bias = (torch.from_numpy(x.sum(0)).float() for x in (dA, dD, d_bias))
        dB, dC = (torch.from_numpy(x[:, 0] if len(ranges) == 1 else x.sum(1)) for x in (dB, dC))
        return du, d_delta, dA.t(), dB, dC, dD, d_bias


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here, or an empty string."""
    return '' if device.type == 'cpu' and dtype == torch.float32 else 'it computes float32 on the CPU'


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; float32 tensors on the CPU."""
    u, delta, B, C, D, delta_bias = (x.contiguous() for x in (u, delta, B, C, D, delta_bias))
    if torch.is_grad_enabled() and any(x.requires_grad for x in (u, delta, A, B, C, D, delta_bias)):
        return _NumbaScan.apply(u, delta, A, B, C, D, delta_bias)
    u, delta, A, B, C, D, delta_bias = (x.detach() for x in (u, delta, A, B, C, D, delta_bias))
    return _forward(u, delta, A, B, C, D, delta_bias, keep=False)[0]
