"""The selective scan on CUDA in float32, as Triton kernels. Checked in Triton's interpreter; never timed on a GPU.

All chunks of the sequence run at the same time, in three launches, each as wide as batch * chunks * features:

1. every chunk runs from a zero state and gives its end state and the sum of its steps;
2. the chunks are joined, which gives the state before each (the decay of a chunk is exp(sum of its steps * A));
3. every chunk runs again from its true start state and gives the outputs.

Backward does the first two with the adjoint recurrence from the right, and then computes all gradients of a chunk at
once with associative scans over its steps. It keeps the inputs and the states before the chunks.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeprftv2_arch.nn.kernels.probe import compile_error

_CHUNK = 64  # steps
_BLOCK = 16  # features of one program
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _softplus(x):
    """max(x, 0) + log(1 + exp(-|x|)): the hardware's log is too coarse next to 1, a polynomial is not."""
    e = tl.exp(-tl.abs(x))
    p = e * 0.006015134438465461 - 0.03288583237249205
    p = p * e + 0.08416001762931531
    p = p * e - 0.14205156434960448
    p = p * e + 0.19379360204314128
    p = p * e - 0.24917245498304652
    p = p * e + 0.3332875563326094
    p = p * e - 0.4999992762464742
    p = p * e + 1.0
    return tl.where(x > 0.0, x, 0.0) + e * p


@triton.jit
def _block(index, A_ptr, features, N: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr):
    """Return a block of features with its states: indices, masks, and the rates of decay for exp2."""
    d, n = index * BLOCK + tl.arange(0, BLOCK), tl.arange(0, STATES)
    in_d = d < features
    in_state = in_d[:, None] & (n < N)[None, :]
    rate = tl.load(A_ptr + d[:, None] * N + n[None, :], mask=in_state, other=0.0) * LOG2_E
    return d, n, in_d, in_state, rate


@triton.jit
def _step(index, batch, length, delta_ptr, bias, d, n, features, N: tl.constexpr):
    """One step of a sequence: its row in memory, the masks of its features and states, and its size, 0 past the end."""
    inside = index < length
    in_d, in_n = d < tl.where(inside, features, 0), n < tl.where(inside, N, 0)
    row = (batch * length + index).to(tl.int64)
    raw = tl.load(delta_ptr + row * features + d, mask=in_d, other=0.0) + bias
    return row, in_d, in_n, tl.where(inside, _softplus(raw), 0.0)


@triton.jit
def _states(chunk, batch, d, n, features, chunks, N: tl.constexpr):
    """Where the numbers per chunk lie: of the features d, and of their states."""
    row = (batch * chunks + chunk) * features + d
    return row, row[:, None] * N + n[None, :]


@triton.jit
def _chunk_end(
    x_ptr, delta_ptr, A_ptr, weight_ptr, bias_ptr, end_ptr, sum_ptr, length, features, chunks,
    CHUNK: tl.constexpr, N: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Return the end state of a chunk for a zero initial state, and the sum of its steps.

    x, weight: u and B for the state, which leaves to the right; dy and C for the adjoint (REVERSE), to the left.
    """
    chunk, batch = tl.program_id(0), tl.program_id(2)
    d, n, in_d, in_state, rate = _block(tl.program_id(1), A_ptr, features, N, STATES, BLOCK)
    bias = tl.load(bias_ptr + d, mask=in_d, other=0.0)
    state = tl.zeros([BLOCK, STATES], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for i in range(CHUNK):
        t = CHUNK - 1 - i if REVERSE else i
        at, row_d, row_n, step = _step(chunk * CHUNK + t, batch, length, delta_ptr, bias, d, n, features, N)
        x = tl.load(x_ptr + at * features + d, mask=row_d, other=0.0)
        weight = tl.load(weight_ptr + at * N + n, mask=row_n, other=0.0)
        decay = tl.exp2(step[:, None] * rate)
        if REVERSE:
            state = decay * (state + x[:, None] * weight[None, :])
        else:
            state = decay * state + (step * x)[:, None] * weight[None, :]
        total += step
    row, states = _states(chunk, batch, d, n, features, chunks, N)
    tl.store(end_ptr + states, state, mask=in_state)
    tl.store(sum_ptr + row, total, mask=in_d)


@triton.jit
def _join_chunks(
    end_ptr, sum_ptr, A_ptr, start_ptr, features, chunks,
    N: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """start = the state that enters each chunk, from the left or (REVERSE, the adjoint) from the right."""
    batch = tl.program_id(1)
    d, n, in_d, in_state, rate = _block(tl.program_id(0), A_ptr, features, N, STATES, BLOCK)
    state = tl.zeros([BLOCK, STATES], tl.float32)
    for i in range(chunks):
        chunk = chunks - 1 - i if REVERSE else i
        row, states = _states(chunk, batch, d, n, features, chunks, N)
        tl.store(start_ptr + states, state, mask=in_state)
        total = tl.load(sum_ptr + row, mask=in_d, other=0.0)
        end = tl.load(end_ptr + states, mask=in_state, other=0.0)
        state = tl.exp2(total[:, None] * rate) * state + end


@triton.jit
def _chunk_outputs(
    u_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, start_ptr, y_ptr, length, features, chunks,
    CHUNK: tl.constexpr, N: tl.constexpr, STATES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Run a chunk from its true start."""
    chunk, batch = tl.program_id(0), tl.program_id(2)
    d, n, in_d, in_state, rate = _block(tl.program_id(1), A_ptr, features, N, STATES, BLOCK)
    bias = tl.load(bias_ptr + d, mask=in_d, other=0.0)
    skip = tl.load(D_ptr + d, mask=in_d, other=0.0)
    _, states = _states(chunk, batch, d, n, features, chunks, N)
    state = tl.load(start_ptr + states, mask=in_state, other=0.0)
    for t in range(CHUNK):
        at, row_d, row_n, step = _step(chunk * CHUNK + t, batch, length, delta_ptr, bias, d, n, features, N)
        u = tl.load(u_ptr + at * features + d, mask=row_d, other=0.0)
        b = tl.load(B_ptr + at * N + n, mask=row_n, other=0.0)
        c = tl.load(C_ptr + at * N + n, mask=row_n, other=0.0)
        state = tl.exp2(step[:, None] * rate) * state + (step * u)[:, None] * b[None, :]
        tl.store(y_ptr + at * features + d, tl.sum(state * c[None, :], 1) + skip * u, mask=row_d)


@triton.jit
def _compose(decay_1, value_1, decay_2, value_2):
    """x -> decay x + value, the first then the second."""
    return decay_1 * decay_2, decay_2 * value_1 + value_2


@triton.jit
def _chunk_gradients(
    u_ptr, delta_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, start_ptr, adjoint_ptr, dy_ptr,
    du_ptr, d_delta_ptr, dA_ptr, dB_ptr, dC_ptr, dD_ptr, d_bias_ptr, length, features, chunks, batches,
    CHUNK: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """All gradients of one chunk. dA, dD, d_bias: one sum per chunk. dB, dC: one sum per block of features."""
    chunk, block, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    d = block * BLOCK + tl.arange(0, BLOCK)
    t = tl.arange(0, CHUNK)
    step_index = chunk * CHUNK + t
    in_d, in_t = d < features, step_index < length
    inside = in_t[:, None] & in_d[None, :]
    at = (batch * length + step_index).to(tl.int64)
    cell = at[:, None] * features + d[None, :]
    bias = tl.load(bias_ptr + d, mask=in_d, other=0.0)[None, :]
    skip = tl.load(D_ptr + d, mask=in_d, other=0.0)[None, :]
    raw = tl.load(delta_ptr + cell, mask=inside, other=0.0) + bias
    step = tl.where(inside, _softplus(raw), 0.0)
    # The adjoint of step t decays by step t + 1; what enters from the right has its chunk's decay already.
    has_next = inside & ((t < CHUNK - 1) & (step_index + 1 < length))[:, None]
    next_raw = tl.load(delta_ptr + cell + features, mask=has_next, other=0.0) + bias
    next_step = tl.where(has_next, _softplus(next_raw), 0.0)
    u = tl.load(u_ptr + cell, mask=inside, other=0.0)
    dy = tl.load(dy_ptr + cell, mask=inside, other=0.0)
    drive = step * u
    d_drive = tl.zeros([CHUNK, BLOCK], tl.float32)
    d_step = tl.zeros([CHUNK, BLOCK], tl.float32)
    row = (batch * chunks + chunk) * features + d
    for n in range(N):
        a = tl.load(A_ptr + d * N + n, mask=in_d, other=0.0)[None, :]
        b = tl.load(B_ptr + at * N + n, mask=in_t, other=0.0)[:, None]
        c = tl.load(C_ptr + at * N + n, mask=in_t, other=0.0)[:, None]
        decay = tl.exp2(step * (a * LOG2_E))
        total, state = tl.associative_scan((decay, drive * b), 0, _compose)
        state += total * tl.load(start_ptr + row * N + n, mask=in_d, other=0.0)[None, :]
        next_decay = tl.exp2(next_step * (a * LOG2_E))
        total, adjoint = tl.associative_scan((next_decay, dy * c), 0, _compose, reverse=True)
        adjoint += total * tl.load(adjoint_ptr + row * N + n, mask=in_d, other=0.0)[None, :]
        d_exponent = adjoint * (state - drive * b)  # decay * previous state = state - drive * b
        d_drive += adjoint * b
        d_step += d_exponent * a
        tl.store(dA_ptr + row * N + n, tl.sum(d_exponent * step, 0), mask=in_d)
        part = ((block * batches + batch) * length + step_index).to(tl.int64) * N + n
        tl.store(dB_ptr + part, tl.sum(adjoint * drive, 1), mask=in_t)
        tl.store(dC_ptr + part, tl.sum(dy * state, 1), mask=in_t)
    d_raw = tl.where(inside, (d_step + d_drive * u) / (1.0 + tl.exp(-raw)), 0.0)
    tl.store(d_delta_ptr + cell, d_raw, mask=inside)
    tl.store(du_ptr + cell, d_drive * step + dy * skip, mask=inside)
    tl.store(d_bias_ptr + row, tl.sum(d_raw, 0), mask=in_d)
    tl.store(dD_ptr + row, tl.sum(dy * u, 0), mask=in_d)


def _enter_chunks(x: Tensor, delta: Tensor, A: Tensor, weight: Tensor, bias: Tensor, reverse: bool) -> Tensor:
    """Return what enters each chunk, (B, chunks, D, N): states from the left, or (reverse) adjoints from the right."""
    batch, length, features = x.shape
    states, chunks, blocks = A.shape[1], triton.cdiv(length, _CHUNK), triton.cdiv(features, _BLOCK)
    end, total = x.new_empty(batch, chunks, features, states), x.new_empty(batch, chunks, features)
    start = torch.empty_like(end)
    sizes = {'N': states, 'STATES': triton.next_power_of_2(states), 'BLOCK': _BLOCK, 'REVERSE': reverse, 'num_warps': 1}
    arrays = (x, delta, A, weight, bias, end, total)
    _chunk_end[chunks, blocks, batch](*arrays, length, features, chunks, CHUNK=_CHUNK, **sizes)
    _join_chunks[blocks, batch](end, total, A, start, features, chunks, **sizes)
    return start


class _TritonScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, bias):
        batch, length, features = u.shape
        states = A.shape[1]
        start = _enter_chunks(u, delta, A, B, bias, reverse=False)
        chunks, blocks, y = start.shape[1], triton.cdiv(features, _BLOCK), torch.empty_like(u)
        _chunk_outputs[chunks, blocks, batch](
            u, delta, A, B, C, D, bias, start, y, length, features, chunks,
            CHUNK=_CHUNK, N=states, STATES=triton.next_power_of_2(states), BLOCK=_BLOCK, num_warps=1,
        )  # fmt: skip
        ctx.save_for_backward(u, delta, A, B, C, D, bias, start)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        u, delta, A, B, C, D, bias, start = ctx.saved_tensors
        dy = dy.contiguous()
        batch, length, features = u.shape
        chunks, states, blocks = start.shape[1], A.shape[1], triton.cdiv(features, _BLOCK)
        adjoint = _enter_chunks(dy, delta, A, C, bias, reverse=True)
        du, d_delta, dA = torch.empty_like(u), torch.empty_like(u), torch.empty_like(start)
        dB, dC = u.new_empty(2, blocks, *B.shape)
        dD, d_bias = u.new_empty(2, *start.shape[:3])
        _chunk_gradients[chunks, blocks, batch](
            u, delta, A, B, C, D, bias, start, adjoint, dy, du, d_delta, dA, dB, dC, dD, d_bias,
            length, features, chunks, batch, CHUNK=_CHUNK, N=states, BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
        dA, dD, d_bias = (x.sum((0, 1), dtype=torch.float64).to(u.dtype) for x in (dA, dD, d_bias))
        return du, d_delta, dA, dB.sum(0), dC.sum(0), dD, d_bias


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here, or an empty string."""
    if device.type != 'cuda' or dtype != torch.float32:
        return 'it computes float32 on CUDA'
    return compile_error('Triton', scan, device)


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; float32 tensors on one CUDA device."""
    with torch.cuda.device_of(u):  # Triton launches on the current device
        return _TritonScan.apply(*(x.contiguous() for x in (u, delta, A, B, C, D, delta_bias)))
