"""The selective scan in torch operations only: any device, float32 or float64, always there.

The sequence is cut into chunks and all chunks take a step at the same time, so a scan over L steps is a loop over one
chunk (about sqrt(L) long) of wide operations:

1. every chunk runs from a zero state and gives its decay over the whole chunk and its end state;
2. `_carry` joins them: the true start state of every chunk, one short loop over the chunks;
3. every chunk runs again from its true start state and gives the outputs.

Nothing is ever divided by a product of decays, so strong decays cannot overflow (the cumulative-sum form of this
scan can). The backward pass keeps only the inputs and the start states and computes the states again.

Inside this module the sequence is held as (T, R, X): T steps of a chunk, R = batch * chunks rows, X features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Chunks:
    """How a sequence of `length` steps lies in chunks: the last one is filled with zeros, which a scan passes over."""

    def __init__(self, length: int) -> None:
        self.length = length
        # A power of two near sqrt(L) balances the loop inside a chunk against the loop over the chunks.
        self.steps = max(16, 2 ** round(math.log2(length) / 2))
        self.count = -(-length // self.steps)

    def split(self, x: Tensor) -> Tensor:
        """(B, L, X) -> (T, R, X)."""
        x = F.pad(x, (0, 0, 0, self.count * self.steps - self.length))
        x = x.reshape(-1, self.count, self.steps, x.shape[-1])
        return x.permute(2, 0, 1, 3).flatten(1, 2).contiguous()

    def join(self, x: Tensor) -> Tensor:
        """(T, R, X) -> (B, L, X)."""
        x = x.unflatten(1, (-1, self.count)).permute(1, 2, 0, 3)
        return x.flatten(1, 2)[:, : self.length].contiguous()


def _carry(decay: Tensor, end: Tensor, count: int, reverse: bool = False) -> Tensor:
    """Return the state that enters each chunk, (R, N, D), from each chunk's decay and end state for a zero start."""
    decay, end = decay.unflatten(0, (-1, count)), end.unflatten(0, (-1, count))
    start = torch.empty_like(end)
    state = torch.zeros_like(end[:, 0])
    for chunk in reversed(range(count)) if reverse else range(count):
        start[:, chunk] = state
        state = torch.addcmul(end[:, chunk], decay[:, chunk], state)
    return start.flatten(0, 1)


def _sum_chunks(x: Tensor) -> Tensor:
    """Sum over the rows in float64: tens of thousands of float32 terms in one float32 sum lose a digit."""
    exact = x.dtype if x.device.type == 'mps' else torch.float64  # mps has no float64
    return x.to(exact).sum(0).to(x.dtype)


def _decay(step: Tensor, A_t: Tensor, out: Tensor) -> Tensor:
    """exp(step A) of one step, (R, N, D), from step (R, D) and A_t (N, D)."""
    return torch.mul(step[:, None], A_t, out=out).exp_()


def _forward(
    u: Tensor, delta: Tensor, A_t: Tensor, B: Tensor, C: Tensor, D: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the outputs (B, L, D) and the start states (R, N, D)."""
    chunks = _Chunks(u.shape[1])
    step = chunks.split(F.softplus(delta + bias))
    drive = step * chunks.split(u)
    b, c = chunks.split(B)[..., None], chunks.split(C)[..., None]

    state = u.new_zeros(step.shape[1], *A_t.shape)
    buffer = torch.empty_like(state)
    for t in range(chunks.steps):
        state.mul_(_decay(step[t], A_t, buffer)).addcmul_(b[t], drive[t, :, None])
    start = _carry(_decay(step.sum(0), A_t, buffer), state, chunks.count)

    state.copy_(start)
    y = torch.empty_like(drive)
    for t in range(chunks.steps):
        state.mul_(_decay(step[t], A_t, buffer)).addcmul_(b[t], drive[t, :, None])
        torch.sum(torch.mul(state, c[t], out=buffer), 1, out=y[t])
    return torch.addcmul(chunks.join(y), u, D), start


class _WideScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, bias):
        A_t = A.t().contiguous()
        y, start = _forward(u, delta, A_t, B, C, D, bias)
        ctx.save_for_backward(u, delta, A_t, B, C, D, bias, start)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        u, delta, A_t, B, C, D, bias, start = ctx.saved_tensors
        chunks = _Chunks(u.shape[1])
        raw = delta + bias
        step, u_t, dy_t = chunks.split(F.softplus(raw)), chunks.split(u), chunks.split(dy)
        drive = step * u_t
        b, c = chunks.split(B)[..., None], chunks.split(C)[..., None]
        buffer, product = torch.empty_like(start), torch.empty_like(start)

        # The adjoint state that enters each chunk from the right: grad = decay * (grad + c dy), last step first.
        grad = torch.zeros_like(start)
        for t in reversed(range(chunks.steps)):
            grad.addcmul_(c[t], dy_t[t, :, None]).mul_(_decay(step[t], A_t, buffer))
        grad = _carry(_decay(step.sum(0), A_t, buffer), grad, chunks.count, reverse=True)

        # States again, kept at the start of every section of about sqrt(T) steps.
        section = math.isqrt(chunks.steps)
        state, kept = start.clone(), []
        for t in range(chunks.steps):
            if t % section == 0:
                kept.append(state.clone())
            state.mul_(_decay(step[t], A_t, buffer)).addcmul_(b[t], drive[t, :, None])
        del state

        d_drive, d_step = torch.empty_like(drive), torch.empty_like(drive)
        dB, dC = torch.empty_like(b[..., 0]), torch.empty_like(c[..., 0])
        dA = torch.zeros_like(start)  # one sum per chunk
        decays = [torch.empty_like(start) for _ in range(section)]
        states = [torch.empty_like(start) for _ in range(section + 1)]
        for first in reversed(range(0, chunks.steps, section)):
            states[0] = kept.pop()
            length = min(section, chunks.steps - first)
            for i in range(length):
                _decay(step[first + i], A_t, decays[i])
                torch.mul(decays[i], states[i], out=states[i + 1])
                states[i + 1].addcmul_(b[first + i], drive[first + i, :, None])
            for i in reversed(range(length)):
                t = first + i
                torch.sum(torch.mul(states[i + 1], dy_t[t, :, None], out=product), 2, out=dC[t])
                grad.addcmul_(c[t], dy_t[t, :, None])
                torch.sum(torch.mul(grad, drive[t, :, None], out=product), 2, out=dB[t])
                torch.sum(torch.mul(grad, b[t], out=product), 1, out=d_drive[t])
                grad.mul_(decays[i])
                torch.mul(grad, states[i], out=product)  # the gradient of the exponent step * A
                torch.sum(torch.mul(product, A_t, out=buffer), 1, out=d_step[t])
                dA.addcmul_(product, step[t, :, None])

        d_raw = chunks.join(d_step.addcmul_(d_drive, u_t)) * torch.sigmoid(raw)
        du = torch.addcmul(chunks.join(d_drive.mul_(step)), dy, D)
        dD = _sum_chunks((dy_t * u_t).sum(0))
        d_bias = _sum_chunks(chunks.split(d_raw).sum(0))
        return du, d_raw, _sum_chunks(dA).t(), chunks.join(dB), chunks.join(dC), dD, d_bias


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here: never."""
    return ''


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; all tensors of one floating dtype on one device."""
    inputs = (u, delta, A, B, C, D, delta_bias)
    if torch.is_grad_enabled() and any(x.requires_grad for x in inputs):
        return _WideScan.apply(*inputs)
    return _forward(u, delta, A.t().contiguous(), B, C, D, delta_bias)[0]
