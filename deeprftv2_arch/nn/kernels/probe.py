"""Whether a backend of the scan that compiles its kernels can run: found out once, by running it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor


@cache
def compile_error(compiler: str, scan: Callable[..., Tensor], device: torch.device) -> str:
    """Compile the kernels of a backend, or load them, by a scan of one step forward and backward.

    Args:
        compiler: Its name for the message.
        scan: The backend's function.
        device: Where to run it.

    Returns:
        What failed (no C compiler, a GPU that the compiler does not know), or an empty string.
    """
    try:
        with torch.inference_mode(False), torch.enable_grad():
            u, A, D = (torch.zeros(shape, dtype=torch.float32, device=device) for shape in ((1, 1, 1), (1, 1), (1,)))
            scan(u.clone().requires_grad_(), u, A, u, u, D, D).sum().backward()
    except Exception as error:  # whatever compilers raise: the caller has another backend
        return f'{compiler} cannot compile its kernels here ({type(error).__name__}: {error})'
    return ''
