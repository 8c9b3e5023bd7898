"""Find BasicSR where our own folder of its name comes first on the path."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from typing import Any


def unshadow_basicsr() -> None:
    """Let `import basicsr` find a BasicSR that is installed in editable mode, at the root of this repository too.

    `pip install -e` leaves it to a finder of setuptools, which Python asks after all of `sys.path`. There our folder
    `basicsr/`, which has no `__init__.py`, passes for a namespace package, and Python asks no further. So the finder
    that knows BasicSR is asked first.
    """
    if 'basicsr' in sys.modules:
        return
    hidden_by = None
    for place, finder in enumerate(sys.meta_path):
        spec = _spec(finder)
        if spec is None:
            continue
        if spec.origin is None:  # a namespace package
            hidden_by = place if hidden_by is None else hidden_by
            continue
        if hidden_by is not None:
            sys.meta_path.insert(hidden_by, sys.meta_path.pop(place))
        return


def _spec(finder: Any) -> ModuleSpec | None:
    if not hasattr(finder, 'find_spec'):  # as old finders
        return None
    return finder.find_spec('basicsr', None)
