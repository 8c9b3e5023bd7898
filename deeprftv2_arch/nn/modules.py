"""Lists of modules of one type, so that readers, editors and mypy know what stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from torch import nn

Item = TypeVar('Item', bound=nn.Module)


class TypedModuleList(nn.ModuleList, Generic[Item]):
    """``nn.ModuleList`` whose items are of a known type; the same at run time."""

    if TYPE_CHECKING:

        def __iter__(self) -> Iterator[Item]: ...

        def __getitem__(self, index: int) -> Item: ...  # type: ignore[override]
