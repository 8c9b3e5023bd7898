"""Checks the arguments, chooses the backend, says once in the log which one runs."""

from __future__ import annotations

import importlib
import logging
import os
from functools import cache
from types import ModuleType

import torch
from torch import Tensor
from torch.nn import Parameter

from deeprftv2_arch.nn.precision import without_autocast

_logger = logging.getLogger('deeprftv2_arch')
_ENVIRONMENT = 'DEEPRFTV2_SCAN'
# In the order in which the automatic choice tries them; the reference is only ever asked for by name.
_MODULES = {
    'mamba_ssm': 'mamba',
    'triton': 'triton_cuda',
    'numba': 'numba_cpu',
    'wide': 'wide',
    'reference': 'reference',
    'exported': 'exported',
}
_announced: set[str] = set()


class BackendError(ValueError):
    """A backend was asked for by name that is unknown or cannot run here; the message says which ones can."""


def _module(name: str) -> ModuleType:
    """Import the module of a backend, when first asked for: Numba takes a second."""
    return importlib.import_module(f'deeprftv2_arch.nn.selective_scan.{_MODULES[name]}')


@cache
def _import_error(name: str) -> str:
    """Return why the module of a backend cannot be imported, or an empty string."""
    try:
        _module(name)
    except Exception as error:  # not installed, or broken: a missing library, a version that does not fit
        return f'{type(error).__name__}: {error}'
    return ''


def _unusable_reason(name: str, device: torch.device, dtype: torch.dtype) -> str:
    return _import_error(name) or _module(name).unusable_reason(device, dtype)


def available_backends(device: torch.device | str = 'cpu', dtype: torch.dtype = torch.float32) -> tuple[str, ...]:
    """Return the backends that can run on this device and dtype, the automatic choice first."""
    device = torch.device(device)
    return tuple(name for name in _MODULES if not _unusable_reason(name, device, dtype))


def _announce(key: str, message: str, *args: object) -> None:
    if key not in _announced:
        _announced.add(key)
        _logger.info(message, *args)


def _choose(backend: str | None, device: torch.device, dtype: torch.dtype) -> str:
    forced = backend or os.environ.get(_ENVIRONMENT)
    if not forced:
        return _choose_automatically(device, dtype)
    origin = 'the argument backend' if backend else f'the environment variable {_ENVIRONMENT}'
    reason = _unusable_reason(forced, device, dtype) if forced in _MODULES else 'no such backend'
    if reason:
        choices = ', '.join(available_backends(device, dtype))
        raise BackendError(
            f'selective_scan: {origin} asks for {forced!r}, which cannot run on {device.type} in {dtype}: {reason}. '
            f'Choices here: {choices}.'
        )
    return forced


def _choose_automatically(device: torch.device, dtype: torch.dtype) -> str:
    if dtype == torch.float32:
        for name in {'cpu': ('numba',), 'cuda': ('mamba_ssm', 'triton')}.get(device.type, ()):
            reason = _unusable_reason(name, device, dtype)
            if not reason:
                return name
            _announce(f'without {name}', 'selective scan: runs without %s: %s', name, reason)
    return 'wide'


def _check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor) -> None:
    if u.ndim != 3 or u.shape[1] < 1 or u.shape[2] < 1:
        raise ValueError(f'selective_scan: u must have shape (B, L, D) with L, D >= 1, but has {tuple(u.shape)}')
    if A.ndim != 2 or A.shape[1] < 1:
        raise ValueError(f'selective_scan: A must have shape (D, N) with N >= 1, but has {tuple(A.shape)}')
    (batch, length, features), states = u.shape, A.shape[1]
    expected = {
        'delta': (delta, '(B, L, D)', (batch, length, features)),
        'A': (A, '(D, N)', (features, states)),
        'B': (B, '(B, L, N)', (batch, length, states)),
        'C': (C, '(B, L, N)', (batch, length, states)),
        'D': (D, '(D,)', (features,)),
        'delta_bias': (delta_bias, '(D,)', (features,)),
    }
    for name, (tensor, axes, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f'selective_scan: {name} must have shape {axes} = {shape}, as u is {tuple(u.shape)} and A is '
                f'{tuple(A.shape)}, but has {tuple(tensor.shape)}'
            )
        if tensor.device != u.device:
            raise ValueError(f'selective_scan: {name} is on {tensor.device}, but u is on {u.device}')
    for name, tensor in {'u': u, **{name: entry[0] for name, entry in expected.items()}}.items():
        if not tensor.is_floating_point():
            raise ValueError(f'selective_scan: {name} must be real floating point, but is {tensor.dtype}')


def _kernels_may_read(inputs: tuple[Tensor, ...]) -> bool:
    """Tell whether the inputs have memory that a kernel may read, and whether what it writes is all that is asked for.

    Fake tensors and other subclasses have no memory. A trace keeps nothing of a kernel but the empty tensor that it
    writes to.
    """
    return all(type(x) in (Tensor, Parameter) for x in inputs) and not torch.jit.is_tracing()


# The backends are compiled already, and read the memory of their arguments.
@torch.compiler.disable
def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    *,
    backend: str | None = None,
) -> Tensor:
    """Run the selective state-space recurrence of S6, along the second axis.

    With step = softplus(delta + delta_bias) and a state h of N numbers per feature, h_0 = 0,

        h_t = exp(step_t A) h_{t-1} + step_t B_t u_t
        y_t = <C_t, h_t> + D u_t

    Computed in float32, or in float64 if any argument is float64; half-precision arguments are converted, also under
    autocast. Differentiable once in every argument; the backward pass keeps the inputs and a few states and computes
    the rest again.

    Args:
        u: Input (B, L, D).
        delta: Step sizes before bias and softplus (B, L, D).
        A: Decay rates (D, N), negative and real.
        B: Input weights (B, L, N).
        C: Output weights (B, L, N).
        D: Skip weights (D,).
        delta_bias: Bias of the step sizes (D,).
        backend: 'numba', 'wide', 'mamba_ssm', 'triton' or 'reference'. Default: the environment variable
            DEEPRFTV2_SCAN, else the fastest that can run here: `numba` on the CPU, `mamba_ssm` or `triton` on CUDA,
            `wide` everywhere else and in float64. While `torch.jit.trace` records it is always `wide`,
            which is made of torch's own operations.

    Returns:
        y (B, L, D), in u's dtype.

    Raises:
        ValueError: A shape, dtype or device does not fit.
        BackendError: The backend asked for is unknown or cannot run here.

    Source: Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", section 3.2.
    """
    inputs = (u, delta, A, B, C, D, delta_bias)
    _check(*inputs)
    if u.is_meta:
        return torch.empty_like(u)  # shapes only: nothing to compute step by step
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32
    if torch.onnx.is_in_onnx_export() and not torch.jit.is_tracing():
        name = 'exported'
    else:
        name = _choose(backend, u.device, dtype) if _kernels_may_read(inputs) else 'wide'
    _announce(name, 'selective scan: %s on %s', name, u.device.type)
    with without_autocast(u.device):
        return _module(name).scan(*(x.to(dtype) for x in inputs)).to(u.dtype)
