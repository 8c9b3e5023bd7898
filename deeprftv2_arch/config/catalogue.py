"""What an option file may name, and the arguments of what it names: the one interface, with two sources behind it.

`registries.Registries` asks what is imported. `sources.Sources` reads the same off the source files, without importing
anything: a mistake is told before torch is there.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

REGISTRIES = {'arch': 'archs', 'dataset': 'data', 'loss': 'losses', 'metric': 'metrics', 'model': 'models'}
"""Kinds of registered things, as BasicSR's registries are called, and the folders that they are in."""

TRUSTED = ('deeprftv2_arch.', 'torch.optim.')
"""Modules whose annotations are right, so that values are judged by them. Elsewhere only names are judged."""


@dataclass(frozen=True)
class Entry:
    """A class or function that an option file may name.

    Attributes:
        name: Its own name, which may be another one than it is registered under.
        module: Where it is defined.
        parameters: What it is called with.
        kinds: Types of the parameters by name, as annotations, of what is in a `TRUSTED` module.
        docs: Its docstring, and those of its bases in the order in which methods are looked up.
        registered: The name that it is registered under, if it is.
    """

    name: str
    module: str
    parameters: tuple[inspect.Parameter, ...] = ()
    kinds: Mapping[str, Any] = field(default_factory=dict)
    docs: tuple[str, ...] = ()
    registered: str = ''

    @property
    def is_ours(self) -> bool:
        """Whether it is of this package."""
        return self.module.startswith('deeprftv2_arch.')


class Catalogue(ABC):
    """What is registered, and what else an option file may name.

    Attributes:
        doubts: What this source could not tell. If there is any, the findings that rest on it are not to be trusted,
            and some may be missing.
    """

    def __init__(self) -> None:
        self.doubts: list[str] = []

    @abstractmethod
    def names(self, registry: str) -> Collection[str]:
        """The names in one of the `REGISTRIES`."""

    @abstractmethod
    def find(self, registry: str, name: str) -> Entry | None:
        """What is registered under exactly this name."""

    @abstractmethod
    def optimizer(self, name: str) -> Entry:
        """A class of `torch.optim`."""

    @abstractmethod
    def scheduler(self, name: str) -> Entry:
        """A learning rate schedule of BasicSR."""

    @abstractmethod
    def definer(self, model: Entry, method: str) -> str:
        """Dotted name of the class that a registered model has a method from; empty for none."""

    @abstractmethod
    def refusal(self, entry: Entry, arguments: Mapping[str, Any]) -> str:
        """What a class or function of ours says against its arguments; empty if it takes them."""

    @abstractmethod
    def count_gpus(self) -> int:
        """How many GPUs torch finds on this machine."""
