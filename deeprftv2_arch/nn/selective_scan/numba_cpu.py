"""The selective scan on the CPU in float32: compiled by Numba, no compiler needed where it runs.

The kernel (`numba_kernels`) goes through time once, with the states in the cache. Threads share the work by samples
and blocks of features. Backward keeps the inputs and the states at chunk starts and computes the rest again.
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.selective_scan import numba_kernels as kernels
from deeprftv2_arch.nn.selective_scan import parallel
from deeprftv2_arch.nn.selective_scan.numba_simd import LANES

# Features of one job: as many blocks as keep all their states in the first-level cache.
_BLOCKS = 8


def _pack(x: Tensor) -> Tensor:
    """(D, *) -> (blocks, *, 16): features in blocks of lanes, the last one filled up with zeros."""
    x = F.pad(x.movedim(0, -1), (0, -x.shape[0] % LANES))
    return x.unflatten(-1, (-1, LANES)).movedim(-2, 0).contiguous()


def _shares(blocks: int, batch: int) -> list[tuple[int, int]]:
    """Cuts the blocks into ranges so that batch * ranges jobs keep torch's number of threads busy."""
    threads = torch.get_num_threads()
    parts = max(-(-blocks // _BLOCKS), min(blocks, -(-threads // batch)))
    while parts < blocks and batch * parts % threads:
        parts += 1
    edges = [blocks * part // parts for part in range(parts + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _samples(*inputs: Tensor) -> list[kernels.Sample]:
    """The inputs of each sample, as the kernel wants them."""
    u, delta, A, B, C, D, bias = (x.numpy() for x in inputs)
    return [kernels.Sample(u[i], delta[i], A, B[i], C[i], D, bias) for i in range(len(u))]


def _forward(u, delta, A, B, C, D, bias, keep: bool) -> tuple[Tensor, Tensor]:
    """Outputs (B, L, D) and, if keep, the states before the chunks (B, chunks, blocks, N, 16)."""
    y = torch.empty_like(u)
    starts = u.new_empty(len(u), -(-u.shape[1] // kernels.CHUNK) if keep else 0, *A.shape)
    samples, outputs = _samples(u, delta, A, B, C, D, bias), zip(y.numpy(), starts.numpy(), strict=True)
    parallel.run(
        [
            partial(kernels.forward, sample, y_, starts_, keep, *share)
            for sample, (y_, starts_) in zip(samples, outputs, strict=True)
            for share in _shares(len(A), len(u))
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
        *inputs, starts = ctx.saved_tensors
        u, _, A, _, _, D, _ = inputs
        batch, length, _ = u.shape
        shares = _shares(len(A), batch)
        du, d_delta = torch.empty_like(u), torch.empty_like(u)
        dBC = u.new_empty(batch, len(shares), A.shape[1], 2, starts.shape[1] * kernels.CHUNK)
        dA, dD, d_bias = (x.new_zeros(batch, *x.shape, dtype=torch.float64) for x in (A, D, D))
        arrays = zip(*(x.numpy() for x in (du, d_delta, dA, dBC, dD, d_bias)), strict=True)
        jobs = []
        for sample, start, dy_, gradients in zip(
            _samples(*inputs), starts.numpy(), dy.contiguous().numpy(), arrays, strict=True
        ):
            du_, d_delta_, dA_, dBC_, dD_, d_bias_ = gradients
            for share, dBC_share in zip(shares, dBC_, strict=True):
                gradients = kernels.Gradients(du_, d_delta_, dA_, dBC_share, dD_, d_bias_)
                jobs.append(partial(kernels.backward, sample, start, dy_, gradients, *share))
        parallel.run(jobs)
        dA, dD, d_bias = (x.sum(0).to(u.dtype) for x in (dA, dD, d_bias))
        dB, dC = dBC.sum(1)[..., :length].permute(2, 0, 3, 1)
        return du, d_delta, dA, dB, dC, dD, d_bias


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here, or an empty string."""
    return '' if device.type == 'cpu' and dtype == torch.float32 else 'it computes float32 on the CPU'


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; float32 tensors on the CPU."""
    missing = -A.shape[1] % kernels.STATES  # states that are added as zeros, to be taken four at a time
    A, B, C = (F.pad(x, (0, missing)) if missing else x for x in (A, B, C))
    inputs = (u.contiguous(), delta.contiguous(), _pack(A), B.contiguous(), C.contiguous(), _pack(D), _pack(delta_bias))
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return _NumbaScan.apply(*inputs)
    return _forward(*(x.detach() for x in inputs), keep=False)[0]
