"""What the training's loader asks of a data set."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


class SizedDataset(Protocol):
    """A data set with a length, as all of BasicSR are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


@runtime_checkable
class SampledDataset(SizedDataset, Protocol):
    """A data set whose items can be asked for by a :class:`~deeprftv2_arch.data.sampling.Sample`.

    Attributes:
        takes_samples: Says so.
    """

    takes_samples: bool

    def check_crop(self, size: tuple[int, int]) -> None:
        """Refuse a training crop that cannot be cut, with a UserError."""
