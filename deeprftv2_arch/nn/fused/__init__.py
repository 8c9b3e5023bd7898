"""Several steps of a block in one pass over its maps, for inference on the CPU: compiled by Numba.

Apart from its matrix products a block only moves maps: biases, depthwise convolutions, gates and GELUs read and write
whole maps and compute next to nothing. Here each group of such steps is one pass. Results are those of the plain form
up to the rounding of float32. Where :func:`runs` says no, the blocks compute the plain form: with autograd, under
autocast, inside torch.compile, in other precisions, on other devices, and where Numba does not work.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.norm import LayerNorm2d
from deeprftv2_arch.nn.precision import autocasts_to_half
from deeprftv2_arch.nn.selective_scan import parallel

_LANES = 16
# Below about 0.1 ms of work waking other threads costs more than they give.
_ELEMENTS = 2**16


@cache
def _kernels() -> ModuleType | None:
    """The compiled passes, or None if Numba cannot compile them here."""
    try:
        kernels = importlib.import_module('deeprftv2_arch.nn.fused.kernels')
        x = torch.zeros(1, 16, 1, 1, device='cpu')
        kernels.update(
            x.view(1, 16).numpy(),
            x.view(1, 16).numpy(),
            np.zeros((1, 16, 16), np.float32),
            np.zeros((1, 16), np.float32),
            np.empty((1, 16), np.float32),
            0,
            1,
        )
    except Exception:  # whatever compilers raise: the plain form computes the same
        return None
    return kernels


def runs(x: Tensor) -> bool:
    """Whether the passes of this module can take a map (N, C, H, W)."""
    return (
        not torch.compiler.is_compiling()
        and not torch.is_grad_enabled()
        and type(x) is Tensor
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.shape[1] % _LANES == 0
        and not autocasts_to_half(x.device)
        and _kernels() is not None
    )


def run_rows(kernel: Callable, calls: list[tuple], rows: int, elements: int) -> None:
    """Run a kernel on ranges of rows: one call for each sample, shared by the threads."""
    threads = torch.get_num_threads() if elements >= _ELEMENTS else 1
    shares = list(pairwise(rows * part // threads for part in range(threads + 1)))
    parallel.run([partial(kernel, *call, *share) for call in calls for share in shares], threads)


def _array(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


def _pixels(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C), contiguous."""
    return x.permute(0, 2, 3, 1).contiguous()


def _packed(weight: Tensor) -> np.ndarray:
    """Weights (K, C) or (K, C, 1, 1) in panels: (K / width, C, width)."""
    weight = weight.detach().flatten(1)
    width = next(width for width in _kernels().WIDTHS if len(weight) % width == 0)
    return weight.unflatten(0, (-1, width)).transpose(1, 2).contiguous().numpy()


def _norm(norm: LayerNorm2d | nn.LayerNorm) -> tuple[np.ndarray, np.ndarray, np.float32]:
    return _array(norm.weight), _array(norm.bias), np.float32(norm.eps)


def _row(bias: Tensor | None, channels: int) -> np.ndarray:
    return np.zeros((1, channels), np.float32) if bias is None else _array(bias).reshape(1, channels)


def norm_expand_depthwise(
    x: Tensor, norm: LayerNorm2d, weight: Tensor, bias: Tensor | None, depthwise: nn.Conv2d, gates: bool
) -> tuple[Tensor, Tensor]:
    """``activation(depthwise(weight @ norm(x) + bias))`` (N, K, H, W) and its mean over the map (N, K, 1, 1).

    Args:
        x: (N, C, H, W).
        norm: Over C channels.
        weight: (L, C) or (L, C, 1, 1).
        bias: (L,) or None for zero.
        depthwise: 3x3 convolution of L channels.
        gates: The activation is the first half of the channels times the second, K = L / 2; else GELU, K = L.
    """
    x = _pixels(x)
    batch, height, width, _ = x.shape
    channels = len(weight) // 2 if gates else len(weight)
    out, sums = x.new_empty(batch, height, width, channels), x.new_zeros(batch, height, channels)
    taps = _array(depthwise.weight.detach().flatten(1).t().contiguous())
    parameters = *_norm(norm), _packed(weight), _row(bias, len(weight)), taps, _array(depthwise.bias), gates
    calls = [(a, *parameters, b, s) for a, b, s in zip(x.numpy(), out.numpy(), sums.numpy(), strict=True)]
    run_rows(_kernels().norm_expand_depthwise, calls, height, out.numel())
    return out.permute(0, 3, 1, 2), (sums.sum(1) / (height * width)).view(batch, -1, 1, 1)


def update(x: Tensor, base: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``base + weight @ x + bias`` at every pixel.

    Args:
        x: (N, K, H, W).
        base: (N, C, H, W).
        weight: (C, K), or (N, C, K) for each sample its own.
        bias: (C,) or None for zero.
    """
    x, base = _pixels(x), _pixels(base)
    out = torch.empty_like(base)
    weights = [_packed(weight)] * len(x) if weight.ndim == 2 else [_packed(w) for w in weight]
    arrays = zip(x.flatten(1, 2).numpy(), base.flatten(1, 2).numpy(), weights, out.flatten(1, 2).numpy(), strict=True)
    calls = [(a, b, w, _row(bias, base.shape[-1]), o) for a, b, w, o in arrays]
    run_rows(_kernels().update, calls, x.shape[1] * x.shape[2], out.numel())
    return out.permute(0, 3, 1, 2)


def feed_forward(x: Tensor, norm: LayerNorm2d, expand: nn.Conv2d, weight: Tensor, bias: Tensor) -> Tensor:
    """``x + weight @ simple_gate(expand(norm(x))) + bias``: x (N, C, H, W), weight (C, K), bias (C,)."""
    x = _pixels(x)
    out = torch.empty_like(x)
    parameters = *_norm(norm), _packed(expand.weight), _row(expand.bias, 2 * weight.shape[1])
    flat = x.flatten(0, 2).numpy(), *parameters, _packed(weight), _row(bias, len(weight)), out.flatten(0, 2).numpy()
    run_rows(_kernels().feed_forward, [flat], len(flat[0]), out.numel())
    return out.permute(0, 3, 1, 2)


def gated_update(
    scanned: Tensor,
    source: Tensor,
    base: Tensor,
    norm: LayerNorm2d,
    gates: Tensor,
    scan_norm: nn.LayerNorm,
    weight: Tensor,
) -> Tensor:
    """``base + weight @ (scan_norm(scanned) * gelu(gates @ norm(source)))`` at every pixel.

    Args:
        scanned: (N, D, H, W).
        source: (N, C, H, W).
        base: (N, C, H, W).
        norm: Over C channels.
        gates: (D, C).
        scan_norm: Over D channels.
        weight: (C, D).
    """
    scanned, source, base = _pixels(scanned), _pixels(source), _pixels(base)
    out = torch.empty_like(base)
    flat = [x.flatten(0, 2).numpy() for x in (scanned, source, base)]
    parameters = *_norm(norm), _packed(gates), _row(None, len(gates)), *_norm(scan_norm), _packed(weight)
    call = *flat, *parameters, _row(None, len(weight)), out.flatten(0, 2).numpy()
    run_rows(_kernels().gated_update, [call], len(flat[0]), out.numel())
    return out.permute(0, 3, 1, 2)
