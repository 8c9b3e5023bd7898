"""The catalogue of what is imported: BasicSR's registries and the signatures of what is in them."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from basicsr.models import lr_scheduler
from basicsr.utils import registry

from deeprftv2_arch.config.catalogue import TRUSTED, Catalogue, Entry
from deeprftv2_arch.utils.errors import UserError


class Registries(Catalogue):
    """It has no doubts: what it does not know, a run will not know either."""

    def names(self, registry: str) -> Collection[str]:
        """The names in a registry, in the order in which they were registered."""
        return _registry(registry).keys()

    def find(self, registry: str, name: str) -> Entry | None:
        """The entry of a registered class or function."""
        known = _registry(registry)
        return replace(entry_of(known.get(name)), registered=name) if name in known else None

    def optimizer(self, name: str) -> Entry:
        """The entry of a class of `torch.optim`."""
        return entry_of(getattr(torch.optim, name))

    def scheduler(self, name: str) -> Entry:
        """The entry of a class of `basicsr.models.lr_scheduler`."""
        return entry_of(getattr(lr_scheduler, name))

    def definer(self, model: Entry, method: str) -> str:
        """The first class of the model's that has the method."""
        classes = _registry('model').get(model.registered).__mro__
        return next((f'{c.__module__}.{c.__qualname__}' for c in classes if method in vars(c)), '')

    def refusal(self, entry: Entry, arguments: Mapping[str, Any]) -> str:
        """Have a class look at its arguments: it is built without memory, and thrown away."""
        thing = getattr(sys.modules[entry.module], entry.name)
        try:
            with torch.device('meta'):
                thing(**arguments)
        except (UserError, ValueError, TypeError) as error:
            return str(error)
        return ''

    def count_gpus(self) -> int:
        """The number of GPUs."""
        return torch.cuda.device_count()


def entry_of(thing: Callable[..., Any]) -> Entry:
    """The entry of a class or function."""
    classes = thing.__mro__[:-1] if inspect.isclass(thing) else (thing,)  # without object
    return Entry(
        thing.__name__,
        thing.__module__,
        tuple(inspect.signature(thing).parameters.values()),
        _annotations(thing) if thing.__module__.startswith(TRUSTED) else {},
        tuple(inspect.cleandoc(owner.__doc__ or '') for owner in classes),
    )


def _registry(name: str) -> registry.Registry:
    return getattr(registry, f'{name.upper()}_REGISTRY')


def _annotations(thing: Callable[..., Any]) -> dict[str, Any]:
    constructor = thing.__init__ if inspect.isclass(thing) else thing
    try:
        return typing.get_type_hints(constructor)
    except (NameError, TypeError):  # names imported for type checkers alone
        return {}
