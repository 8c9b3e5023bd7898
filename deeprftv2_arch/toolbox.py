"""BasicSR on today's stack: every quirk of the toolbox that this package knows about, and nothing else.

`basicsr` 1.4.2 dates from 2022. Each `mend_*` function below looks for one fault, mends it in memory if the installed
toolbox has it, and says whether it did. The installed files are never changed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

PARTS = ('archs', 'data', 'losses', 'metrics', 'models')

WITHOUT = 'DEEPRFTV2_ARCH_WITHOUT'
"""Environment variable naming mends to leave out, separated by commas: to look at a fault, or to test its mend."""

mended: list[str] = []
"""Names of the mends in force, in the order in which they were made."""


def being_imported() -> bool:
    """Whether `import basicsr` is under way further up the stack.

    The toolbox imports every `*_arch.py`, `*_dataset.py`... of its own folders while it is itself half imported. That
    is how the files written by `deeprftv2_arch.attach` are reached. `__version__` is the last name that the toolbox's
    `__init__` binds.
    """
    basicsr = sys.modules.get('basicsr')
    return basicsr is not None and not hasattr(basicsr, '__version__')


def register(part: str) -> None:
    """Import one sub-package of ours, which registers its classes: what the files of an attached checkout call.

    Args:
        part: One of `PARTS`.
    """
    importlib.import_module(f'deeprftv2_arch.{part}')


def register_all() -> None:
    """Mend and import the toolbox, then register everything of ours with it.

    While the toolbox is being imported nothing is registered here: the attached files ask for one part at a time.
    """
    _apply(BEFORE_IMPORT)
    if being_imported():
        return
    importlib.import_module('basicsr')
    for part in PARTS:
        register(part)


def _apply(mends: tuple[Callable[[], bool], ...]) -> None:
    left_out = os.environ.get(WITHOUT, '').split(',')
    for mend in mends:
        name = mend.__name__.removeprefix('mend_')
        if name not in mended and name not in left_out and mend():
            mended.append(name)


def _source_folder() -> Path | None:
    """The folder of the installed toolbox, found without importing it."""
    spec = importlib.util.find_spec('basicsr')
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def mend_functional_tensor() -> bool:
    """Give `basicsr.data.degradations` the torchvision module that it imports one function from.

    torchvision 0.17 removed `transforms.functional_tensor`; `rgb_to_grayscale` lives on in `transforms.functional`.
    BasicSR #533, #663 (mended on its master by #650, never released), Real-ESRGAN #879.
    """
    name = 'torchvision.transforms.functional_tensor'
    folder = _source_folder()
    if folder is None or name in sys.modules or importlib.util.find_spec(name) is not None:
        return False
    if 'functional_tensor' not in (folder / 'data' / 'degradations.py').read_text(encoding='utf-8'):
        return False
    from torchvision.transforms.functional import rgb_to_grayscale

    stand_in = types.ModuleType(name, 'Stands in for the module that torchvision 0.17 removed.')
    stand_in.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = stand_in
    return True


BEFORE_IMPORT = (mend_functional_tensor,)
