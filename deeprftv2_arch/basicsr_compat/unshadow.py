"""Finding BasicSR where our own folder of its name comes first."""

from __future__ import annotations

import sys


def unshadow_basicsr() -> None:
    """Have `import basicsr` find a BasicSR that is installed in editable mode, at the root of this repository too.

    `pip install -e` leaves it to a finder of setuptools, which Python asks after all of `sys.path`. There our folder
    `basicsr/`, which has no `__init__.py`, passes for a namespace package, and Python asks no further. So the finder
    that knows BasicSR is asked first.
    """
    if 'basicsr' in sys.modules:
        return
    hidden_by = None
    for place, finder in enumerate(sys.meta_path):
        find_spec = getattr(finder, 'find_spec', None)  # old finders have none
        spec = None if find_spec is None else find_spec('basicsr', None)
        if spec is not None and spec.origin is not None:
            if hidden_by is not None:
                sys.meta_path.insert(hidden_by, sys.meta_path.pop(place))
            return
        if spec is not None and hidden_by is None:
            hidden_by = place
