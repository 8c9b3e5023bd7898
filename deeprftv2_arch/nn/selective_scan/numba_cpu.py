"""The selective scan on the CPU in float32: compiled by Numba, no compiler needed where it runs.

The kernels (`numba_kernels`) go through time once, with the states in the cache. Threads share the work by samples and
blocks of features. Backward keeps the inputs and the states at chunk starts and computes the rest again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.kernels.probe import compile_error
from deeprftv2_arch.nn.kernels.simd import LANES
from deeprftv2_arch.nn.kernels.threads import run
from deeprftv2_arch.nn.selective_scan import numba_kernels as kernels

# Blocks of features of one job, 128 features: as many as keep all their states in the L1 cache.
_BLOCKS = 128 // LANES
# Below about 0.1 ms of work waking other threads costs more than they give.
_STATE_UPDATES = 2**18


def _pack(x: Tensor) -> Tensor:
    """(D, *) -> (blocks, *, LANES): features in blocks of lanes, the last one filled up with zeros."""
    x = F.pad(x.movedim(0, -1), (0, -x.shape[0] % LANES))
    return x.unflatten(-1, (-1, LANES)).movedim(-2, 0).contiguous()


def _threads(u: Tensor, states: int) -> int:
    return 1 if u.numel() * states < _STATE_UPDATES else torch.get_num_threads()


def _block_ranges(blocks: int, batch: int, threads: int) -> list[tuple[int, int]]:
    """Cut the blocks into ranges (first, last) so that batch * ranges jobs keep the threads busy."""
    parts = max(-(-blocks // _BLOCKS), min(blocks, -(-threads // max(batch, 1))))
    while parts < blocks and batch * parts % threads:
        parts += 1
    return list(pairwise(blocks * part // parts for part in range(parts + 1)))


def _samples(*inputs: Tensor) -> list[kernels.Sample]:
    """Return the inputs of each sample, as the kernels want them."""
    u, delta, A, B, C, D, bias = (x.numpy() for x in inputs)
    return [kernels.Sample(u[i], delta[i], A, B[i], C[i], D, bias) for i in range(len(u))]


def _forward(inputs: Sequence[Tensor], keep: bool) -> tuple[Tensor, Tensor]:
    """Return outputs (B, L, D) and, if keep, the states before the chunks (B, chunks, blocks, N, LANES)."""
    u, _, A, *_ = inputs
    batch, length, _ = u.shape
    y = torch.empty_like(u)
    starts = u.new_empty(batch, -(-length // kernels.CHUNK) if keep else 0, *A.shape)
    threads = _threads(u, A.shape[1])
    jobs = [
        partial(kernels.forward, *sample, keep, *blocks)
        for sample in zip(_samples(*inputs), y.numpy(), starts.numpy(), strict=True)
        for blocks in _block_ranges(len(A), batch, threads)
    ]
    run(jobs, threads)
    return y, starts


class _NumbaScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        y, starts = _forward(inputs, keep=True)
        ctx.save_for_backward(*inputs, starts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, ...]:
        *inputs, starts = ctx.saved_tensors
        u, _, A, _, _, D, _ = inputs
        batch, length, _ = u.shape
        threads = _threads(u, A.shape[1])
        ranges = _block_ranges(len(A), batch, threads)
        du, d_delta = torch.empty_like(u), torch.empty_like(u)
        # dB and dC sum over the features: each range of blocks has its own, of all chunks in full.
        dBC = u.new_empty(batch, len(ranges), A.shape[1], 2, starts.shape[1] * kernels.CHUNK)
        dA, dD, d_bias = (x.new_zeros(batch, *x.shape, dtype=torch.float64) for x in (A, D, D))
        gradients = zip(*(x.numpy() for x in (du, d_delta, dA, dD, d_bias)), strict=True)
        each = _samples(*inputs), starts.numpy(), dy.contiguous().numpy(), gradients, dBC.numpy()
        jobs = [
            partial(kernels.backward, sample, start, dy_, kernels.Gradients._make((*sums, dBC_range)), *blocks)
            for sample, start, dy_, sums, dBC_sample in zip(*each, strict=True)
            for blocks, dBC_range in zip(ranges, dBC_sample, strict=True)
        ]
        run(jobs, threads)
        dA, dD, d_bias = (x.sum(0).to(u.dtype) for x in (dA, dD, d_bias))
        dBC = dBC.sum(1) if len(ranges) > 1 else dBC[:, 0]
        dB, dC = dBC[..., :length].permute(2, 0, 3, 1)
        return du, d_delta, dA, dB, dC, dD, d_bias


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; float32 tensors on the CPU."""
    missing = -A.shape[1] % kernels.STATES  # states of zeros, as backward takes four at a time
    A, B, C = (F.pad(x, (0, missing)) if missing else x for x in (A, B, C))
    inputs = (u.contiguous(), delta.contiguous(), _pack(A), B.contiguous(), C.contiguous(), _pack(D), _pack(delta_bias))
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return _NumbaScan.apply(*inputs)
    return _forward([x.detach() for x in inputs], keep=False)[0]


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here, or an empty string."""
    if device.type != 'cpu' or dtype != torch.float32:
        return 'it computes float32 on the CPU'
    return compile_error('Numba', scan, device)
