"""What this package asks of networks, data sets, metrics and models that others may have registered with BasicSR.

All such attributes are declared here. Objects that lack them work too: the callers say what they do then.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class NetworkWithTestMode(Protocol):
    """A network that says how it restored its last image.

    Attributes:
        test_mode: In words, such as its tiles; empty for the whole image at once.
    """

    test_mode: str


def returns_all_outputs(network: nn.Module) -> bool:
    """Tell whether ``forward(x, return_all=True)`` gives every output, as one list per scale, full resolution first."""
    return 'return_all' in inspect.signature(network.forward).parameters


class SizedDataset(Protocol):
    """A data set with a length, as all of BasicSR are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


@runtime_checkable
class NamedDataset(Protocol):
    """A data set that knows the names of its images.

    Attributes:
        names: In its order, without suffix.
    """

    names: Sequence[str]


@runtime_checkable
class SampledDataset(Protocol):
    """A data set whose items can be asked for by a :class:`~deeprftv2_arch.data.sampling.Sample`.

    Attributes:
        takes_samples: True.
    """

    takes_samples: bool

    def check_crop(self, size: tuple[int, int]) -> None:
        """Raise ``UserError`` if crops of this height and width cannot be cut."""


@runtime_checkable
class MetricInfo(Protocol):
    """A metric that says how its values are to be read.

    Attributes:
        better: ``'higher'`` or ``'lower'``: which values are better.
        unquantized: Whether it is to see float32 in [0, 1] instead of the 8 bits of an image file.
    """

    better: str
    unquantized: bool


@runtime_checkable
class BatchPlanner(Protocol):
    """A model class whose training takes its batches from the stages of the options.

    Attributes:
        plans_batches: True.
    """

    plans_batches: bool


class StopRequest(Protocol):
    """What may ask a long evaluation to be given up; see :class:`deeprftv2_arch.distributed.signals.GracefulStop`."""

    def raised(self) -> AbstractContextManager[None]:
        """Have a signal raise ``KeyboardInterrupt`` at once, inside of this context."""

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if any process was asked to stop."""

    def ask_all(self) -> None:
        """Ask all processes to stop."""


class BasicSRModel(Protocol):
    """What BasicSR's loop and our launcher use of any model."""

    device: torch.device
    schedulers: Iterable[torch.optim.lr_scheduler.LRScheduler]
    update_learning_rate: Callable[..., None]
    validation: Callable[..., None]

    def save(self, epoch: int, current_iter: int) -> None:
        """Write a checkpoint."""


@runtime_checkable
class StoppableModel(Protocol):
    """A model that can be stopped in the middle of a validation, and that may end its training by itself.

    Attributes:
        stop_request: Looked at between two images; the launcher puts its own here.
        stop_reason: Why the training is to end before its last iteration; empty as long as it is not.
    """

    stop_request: StopRequest
    stop_reason: str

    def close_progress(self) -> None:
        """Leave the progress bar as it stands, so that messages have lines of their own."""
