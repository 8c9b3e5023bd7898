"""Tools of the patches: look into BasicSR, and replace a function of it by one of ours."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

DISABLED_PATCHES = 'DEEPRFTV2_ARCH_DISABLE_PATCHES'
"""Environment variable naming patches to leave out, separated by commas: to look at a fault, or to test its patch."""

applied: list[str] = []
"""Names of the patches in force, in the order in which they were applied."""


def folder() -> Path | None:
    """Find the folder of the installed BasicSR without importing it; None if there is none.

    Our own `basicsr/` has no `__init__.py`: if nothing else answers to the name, it is found without an origin.
    """
    basicsr = sys.modules.get('basicsr')
    spec = basicsr.__spec__ if basicsr else importlib.util.find_spec('basicsr')
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def being_imported() -> bool:
    """Whether `import basicsr` is under way further up the stack.

    BasicSR imports every `*_arch.py`, `*_dataset.py`... of its own folders while it is itself half imported. That
    is how the files written by `deeprftv2_arch.cli.attach` are reached. `__version__` is the last name that BasicSR's
    `__init__` binds.
    """
    basicsr = sys.modules.get('basicsr')
    return basicsr is not None and not hasattr(basicsr, '__version__')


def on_each_start(call: Callable[[], object]) -> None:
    """Have `call` called whenever a training or test of BasicSR starts: first of all, each parses its options."""
    options = module('utils.options')
    if getattr(options.parse_options, 'calls_ours', False):
        return

    def parse_options(root_path, is_train=True):
        call()
        return original(root_path, is_train)

    original = options.parse_options
    replace(options, 'parse_options', parse_options)
    options.parse_options.calls_ours = True


def add_to_log(line: Callable[[], str]) -> None:
    """Add a line to what each log file says about the versions in use."""
    logger = module('utils.logger')
    original = logger.get_env_info
    if hasattr(original, 'original'):
        return

    def get_env_info():
        return f'{original()}\n\t{line()}'

    replace(logger, 'get_env_info', get_env_info)


def apply(patches: Iterable[Callable[[], bool]]) -> None:
    """Apply those patches that are needed. A second call finds nothing left to do."""
    left_out = os.environ.get(DISABLED_PATCHES, '').split(',')
    for patch_function in patches:
        name = patch_function.__name__.removeprefix('patch_')
        if name not in left_out and patch_function() and name not in applied:
            applied.append(name)


def source_has(function: Callable[..., Any], text: str) -> bool:
    """Whether `function` is BasicSR's own and its source has `text`, by which a fault is known."""
    return not hasattr(function, 'original') and text in inspect.getsource(function)


def source_lacks(function: Callable[..., Any], text: str) -> bool:
    """Whether `function` is BasicSR's own and its source has no `text`, by which a repair would be known."""
    return not hasattr(function, 'original') and text not in inspect.getsource(function)


def replace(owner: type | types.ModuleType, name: str, function: Callable[..., Any]) -> None:
    """Put `function` in the place of `owner.name`, also where modules of BasicSR imported it by name."""
    original = getattr(owner, name)
    setattr(function, 'original', original)  # noqa: B010  # mypy knows no attributes of functions
    setattr(owner, name, function)
    for module_name, module in list(sys.modules.items()):
        package = module_name.partition('.')[0]
        if package in ('basicsr', '__main__') and vars(module).get(name) is original:
            setattr(module, name, function)


def module(name: str) -> types.ModuleType:
    """Return a module of BasicSR, imported if need be."""
    return importlib.import_module(f'basicsr.{name}')


def base_model() -> Any:
    """Return the class from which all models of BasicSR derive."""
    return module('models.base_model').BaseModel
