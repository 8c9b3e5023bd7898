"""Networks of shapes alone: built without memory for weights, and without drawing any."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

INITIALIZERS: frozenset[Callable[..., Any]] = frozenset(
    {
        nn.init.kaiming_uniform_,
        nn.init.kaiming_normal_,
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.constant_,
        Tensor.uniform_,
        Tensor.normal_,
        Tensor.fill_,
        Tensor.zero_,
    }
)
"""What sets all values of its first argument and returns it."""


class _SkipInitializers(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in INITIALIZERS:
            return args[0] if args else kwargs['tensor']
        return func(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Make tensors on the meta device inside, and leave out their initialization, which takes most of the time there.

    Example:
        >>> with shapes_only():
        ...     layer = nn.Linear(1_000_000, 1_000_000)
        >>> layer.weight.shape, layer.weight.device.type
        (torch.Size([1000000, 1000000]), 'meta')
    """
    with torch.device('meta'), _SkipInitializers():
        yield
