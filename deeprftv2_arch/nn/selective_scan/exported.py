"""The selective scan for an export to ONNX: of operations that become loops in the file, for sequences of any length.

The same three passes over chunks as in `wide`, whose loops in Python would be rolled out, for one length alone. A chunk
has a fixed number of steps here, and the number of chunks follows the sequence.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

STEPS = 64
"""Steps of a chunk."""


def unusable_reason(device: torch.device, dtype: torch.dtype) -> str:
    """Why this backend cannot run here: it compiles its loops on every call, which only an export is worth."""
    return '' if torch.onnx.is_in_onnx_export() else 'it is for exports to ONNX'


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> Tensor:
    """Arguments and result as in `selective_scan`; all tensors of one floating dtype on one device."""
    from torch._higher_order_ops.scan import scan as loop  # which old versions of torch do not have

    batch, length = u.shape[:2]
    step = F.softplus(delta + delta_bias)
    steps, drive, into, out_of = (_chunks(x) for x in (step, step * u, B, C))  # t r x

    def advance(state: Tensor, xs: tuple[Tensor, ...]) -> Tensor:
        decay = torch.exp(xs[0][..., None] * A)
        return decay * state + xs[1][..., None] * xs[2][:, None]

    def run_to_end(state: Tensor, xs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        state = advance(state, xs)
        return state, state[0, 0, :1].clone()  # each step must return something

    def join(state: Tensor, xs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        # The loop insists on states that lie in memory alike.
        return (xs[0] * state + xs[1]).clone(memory_format=torch.contiguous_format), state.clone()

    def run(state: Tensor, xs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        state = advance(state, xs)
        return state, (state * xs[3][:, None]).sum(-1)

    rows = steps.shape[1]
    end, _ = loop(run_to_end, u.new_zeros(rows, *A.shape), (steps, drive, into))
    decay = torch.exp(steps.sum(0)[..., None] * A)
    by_chunk = (decay.unflatten(0, (-1, batch)), end.unflatten(0, (-1, batch)))
    _, start = loop(join, u.new_zeros(batch, *A.shape), by_chunk)
    _, y = loop(run, start.flatten(0, 1), (steps, drive, into, out_of))
    return y.unflatten(1, (-1, batch)).permute(2, 1, 0, 3).flatten(1, 2)[:, :length] + u * D


def _chunks(x: Tensor) -> Tensor:
    """(B, L, X) -> (T, R, X): T steps, R = chunks * batch rows; filled with zeros, which a scan passes over."""
    x = F.pad(x, (0, 0, 0, -x.shape[1] % STEPS))
    return x.unflatten(1, (-1, STEPS)).permute(2, 1, 0, 3).flatten(1, 2)
