"""Constructors that hand keyword arguments on to the base class, and still show every one of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

Init = TypeVar('Init', bound=Callable[..., None])


def with_arguments_of(base: type) -> Callable[[Init], Init]:
    """Give ``__init__(self, *, own, **others)`` the signature of the base class's, with its own arguments put in.

    The arguments of a network are read off its signature: by the check of option files and by their reference. So the
    shared ones are written once, in the base class, and seen in both. An argument of the same name replaces the base
    class's, in its place, and so gives it another default.

    Args:
        base: The base class, in the same module, with keyword-only arguments.
    """

    def decorate(init: Init) -> Init:
        shared = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        parameters = dict(shared)
        for name, parameter in inspect.signature(init).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD:
                parameters[name] = parameter
        init.__signature__ = inspect.Signature(list(parameters.values()), return_annotation='None')  # type: ignore[attr-defined]
        init.__annotations__ = {
            name: parameter.annotation for name, parameter in parameters.items() if name != 'self'
        } | {'return': 'None'}
        return init

    return decorate
