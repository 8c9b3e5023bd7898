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

from deeprftv2_arch.nn.precision import autocasts_to_half
from deeprftv2_arch.nn.selective_scan import parallel

_LANES = 16
# Below about 0.1 ms of work waking other threads costs more than they give.
_ELEMENTS = 2**16


@cache
def _kernels() -> ModuleType | None:
    """The compiled passes, or None if Numba cannot compile them here."""
    try:
        kernels = importlib.import_module('deeprftv2_arch.nn.fused_kernels')
        x, bias, out = (torch.zeros(shape, device='cpu').numpy() for shape in ((1, 32), (32,), (1, 16)))
        kernels.gate(x, bias, out, 0, 1)
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


def _expanded(x: Tensor, expand: nn.Conv2d) -> Tensor:
    """The product of a 1x1 convolution without its bias: (N, C, H, W) -> (N, H, W, K)."""
    return x.permute(0, 2, 3, 1) @ expand.weight.flatten(1).t()


def _taps(depthwise: nn.Conv2d) -> Tensor:
    return depthwise.weight.detach().flatten(1).t().contiguous()  # 9 c


def _array(parameter: Tensor):
    return parameter.detach().numpy()


def expand_depthwise_gate(x: Tensor, expand: nn.Conv2d, depthwise: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """``simple_gate(depthwise(expand(x)))`` (N, C, H, W) and its mean over the map (N, C, 1, 1)."""
    y = _expanded(x, expand)
    batch, height, width, channels = y.shape
    out, sums = y.new_empty(batch, height, width, channels // 2), y.new_zeros(batch, height, channels // 2)
    parameters = _array(expand.bias), _taps(depthwise).numpy(), _array(depthwise.bias)
    calls = [(a, *parameters, b, s) for a, b, s in zip(y.numpy(), out.numpy(), sums.numpy(), strict=True)]
    run_rows(_kernels().depthwise_gate, calls, height, y.numel())
    return out.permute(0, 3, 1, 2), (sums.sum(1) / (height * width)).view(batch, -1, 1, 1)


def expand_gate(x: Tensor, expand: nn.Conv2d) -> Tensor:
    """``simple_gate(expand(x))``: (N, C, H, W) -> (N, K / 2, H, W)."""
    y = _expanded(x, expand)
    out = y.new_empty(*y.shape[:-1], y.shape[-1] // 2)
    flat = y.flatten(0, 2).numpy(), _array(expand.bias), out.flatten(0, 2).numpy()
    run_rows(_kernels().gate, [flat], len(flat[0]), y.numel())
    return out.permute(0, 3, 1, 2)


def depthwise_gelu(x: Tensor, depthwise: nn.Conv2d) -> Tensor:
    """``gelu(depthwise(x))`` of the first D channels of a map (N, H, W, D or more), contiguous -> (N, D, H, W)."""
    out = x.new_empty(*x.shape[:-1], len(depthwise.weight))
    bias = _array(depthwise.bias)
    parameters = np.zeros_like(bias), _taps(depthwise).numpy(), bias
    calls = [(a, *parameters, b) for a, b in zip(x.numpy(), out.numpy(), strict=True)]
    run_rows(_kernels().depthwise_gelu, calls, x.shape[1], out.numel())
    return out.permute(0, 3, 1, 2)


def norm_gelu_gate(x: Tensor, norm: nn.LayerNorm, gates: Tensor) -> Tensor:
    """``norm(x) * gelu(gate)``, the gate the last D channels of gates: (N, H, W, D), (N, H, W, D or more)."""
    x = x.contiguous()
    out = torch.empty_like(x)
    arrays = (x.flatten(0, 2), _array(norm.weight), _array(norm.bias), gates.flatten(0, 2), out.flatten(0, 2))
    flat, weight, bias, gates, flat_out = (array.numpy() if isinstance(array, Tensor) else array for array in arrays)
    run_rows(_kernels().norm_gelu_gate, [(flat, weight, bias, norm.eps, gates, flat_out)], len(flat), x.numel())
    return out
