"""The catalogue of the source files of BasicSR and of this package: what an import would register."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from deeprftv2_arch.config import source_tree
from deeprftv2_arch.config.catalogue import REGISTRIES, TRUSTED, Catalogue, Entry
from deeprftv2_arch.config.gpus import count_gpus
from deeprftv2_arch.config.source_tree import Definition, UnreadableError

SCANNED = {'archs': '*_arch.py', 'data': '*_dataset.py', 'losses': '*_loss.py', 'models': '*_model.py'}
"""What BasicSR imports of its folders; other folders name their files in their `__init__.py`."""

REGISTER_NOTHING = sys.stdlib_module_names | {
    *('basicsr', 'deeprftv2_arch', 'torch', 'torchvision', 'numpy', 'scipy', 'cv2', 'PIL', 'skimage', 'yaml', 'lmdb'),
    *('tqdm', 'requests', 'mc', 'wandb', 'facexlib', 'numba', 'triton', 'mamba_ssm', 'lpips', 'jinja2', 'matplotlib'),
    *('safetensors', 'setuptools', 'ninja', 'tensorboard'),
}
"""What source files import without anything being registered. Behind other imports there may be a plugin."""

CHECKS: dict[str, Callable[..., None] | None] = {
    'FrequencyLoss': None,
    'Identity': None,
}
"""What looks at the arguments of our networks and losses; None where the types say all. Others must be built."""

KEEP_SIGNATURES = {'deeprftv2_arch.metrics.info.metric_info'}
"""Decorators that hand back what they are put on."""


class Sources(Catalogue):
    """It doubts where only an import would tell."""

    def names(self, registry: str) -> Collection[str]:
        """The names that decorators register; where they are not all, with a doubt."""
        if any(_may_register_elsewhere(file) for file in _all_files()):
            self.doubts.append('A source file imports or registers what is not in BasicSR.')
        return _definitions(registry).keys()

    def find(self, registry: str, name: str) -> Entry | None:
        """The entry of a decorated class or function; nothing but its name and module if its `def` does not tell."""
        definition = _definitions(registry).get(name)
        return None if definition is None else replace(self._entry(definition), registered=name)

    def optimizer(self, name: str) -> Entry:
        """The entry of a class of `torch.optim`."""
        return self._found(f'torch.optim.{name}')

    def scheduler(self, name: str) -> Entry:
        """The entry of a class of `basicsr.models.lr_scheduler`."""
        return self._found(f'basicsr.models.lr_scheduler.{name}')

    def definer(self, model: Entry, method: str) -> str:
        """The first class of the model's that has the method."""
        try:
            for module, node in source_tree.lookup_order(_definitions('model')[model.registered]):
                if any(getattr(item, 'name', '') == method for item in node.body):
                    return f'{module.name}.{node.name}'
        except UnreadableError as error:
            self.doubts.append(str(error))
        return ''

    def refusal(self, entry: Entry, arguments: Mapping[str, Any]) -> str:
        """Have the check look at the arguments that a class would hand to it."""
        if entry.name not in CHECKS:
            self.doubts.append(f'{entry.name} must be built to be checked.')
        elif (check := CHECKS[entry.name]) is not None:
            try:
                check(**{p.name: p.default for p in entry.parameters if p.kind is not p.VAR_KEYWORD} | dict(arguments))
            except (ValueError, TypeError) as error:
                return str(error)
        return ''

    def count_gpus(self) -> int:
        """The number of GPUs, told by the driver."""
        number = count_gpus()
        if number is None:
            self.doubts.append('torch alone can tell the number of GPUs.')
        return number or 0

    def _found(self, dotted: str) -> Entry:
        try:
            return self._entry(source_tree.find_definition(dotted))
        except UnreadableError as error:
            return self._unreadable(*dotted.rpartition('.')[::2], error)

    def _entry(self, definition: Definition) -> Entry:
        module, node = definition
        try:
            for decorator in node.decorator_list:
                called = decorator.func if isinstance(decorator, ast.Call) else decorator
                if _registry_of(decorator) is None and module.dotted(called) not in KEEP_SIGNATURES:
                    raise UnreadableError(f'{module.name}.{node.name} is decorated')
            return Entry(
                node.name,
                module.name,
                source_tree.parameters(definition),
                source_tree.annotations(definition) if module.name.startswith(TRUSTED) else {},
                source_tree.docstrings(definition),
            )
        except UnreadableError as error:
            return self._unreadable(module.name, node.name, error)

    def _unreadable(self, module: str, name: str, error: UnreadableError) -> Entry:
        self.doubts.append(str(error))
        return Entry(name, module, (source_tree.P('_', source_tree.P.VAR_KEYWORD),))


def installed() -> bool:
    """Whether there are sources to read: torch and BasicSR are installed."""
    return all(source_tree.package_folder(name) is not None for name in ('basicsr', 'torch'))


class Registration(NamedTuple):
    """A decorated class or function.

    Attributes:
        registry: One of the `REGISTRIES`.
        name: What it is registered under.
        definition: The class or function.
    """

    registry: str
    name: str
    definition: Definition


@functools.cache
def _registrations() -> dict[Path, list[Registration]]:
    """What is registered, by source file, in the order in which it would be imported."""
    found: dict[Path, list[Registration]] = {}
    for folder in REGISTRIES.values():
        for package, pattern in (('basicsr', SCANNED.get(folder, '*.py')), ('deeprftv2_arch', '*.py')):
            for file in sorted((source_tree.package_folder(package) / folder).glob(pattern)):
                if not REGISTER.search(_text(file)):
                    continue
                module = source_tree.read_module(f'{package}.{folder}.{file.stem}')
                found[file] = [
                    Registration(registry, f'{node.name}_{suffix}' if suffix else node.name, Definition(module, node))
                    for node in (module.definitions.values() if module is not None else ())
                    for registry, suffix in filter(None, map(_registry_of, node.decorator_list))
                ]
    return found


def _definitions(registry: str) -> dict[str, Definition]:
    """What is in a registry, by name."""
    return {
        found.name: found.definition
        for registrations in _registrations().values()
        for found in registrations
        if found.registry == registry
    }


def _registry_of(decorator: ast.expr) -> tuple[str, str] | None:
    """Registry and suffix of a decorator such as `@ARCH_REGISTRY.register(suffix='basicsr')`; None for any other."""
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return None
    owner = decorator.func.value
    name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, 'id', '')
    if decorator.func.attr != 'register' or not name.endswith('_REGISTRY'):
        return None
    suffix = next((k.value.value for k in decorator.keywords if isinstance(k.value, ast.Constant)), '')
    return name.removesuffix('_REGISTRY').lower(), suffix


def _all_files() -> list[Path]:
    """Every file that an import of BasicSR or of ours may run."""
    ours = source_tree.package_folder('deeprftv2_arch')
    return [
        *source_tree.package_folder('basicsr').rglob('*.py'),
        *(file for folder in REGISTRIES.values() for file in (ours / folder).glob('*.py')),
    ]


_NAMES = '|'.join(f'{name.upper()}_REGISTRY' for name in REGISTRIES)
IMPORT = re.compile(
    r'^[ \t]*(?:from[ \t]+(\w[\w.]*)[ \t]+import\b|import[ \t]+(\w[\w., \t]*?)[ \t]*(?:#.*)?$)', re.MULTILINE
)
REGISTER = re.compile(rf'\b(?:{_NAMES})\.register\(')
RENAMED = re.compile(rf'\b(?:{_NAMES})[ \t]+as\b')


def _may_register_elsewhere(file: Path) -> bool:
    """Whether a file imports a package that may be a plugin, or registers in a way that is not read here."""
    source = _text(file)
    if RENAMED.search(source) or len(REGISTER.findall(source)) != len(_registrations().get(file, ())):
        return True
    imported = (name.strip() for found in IMPORT.findall(source) for name in ''.join(found).split(','))
    return any(name and re.split(r'\W', name)[0] not in REGISTER_NOTHING for name in imported)


def _text(file: Path) -> str:
    return file.read_text(encoding='utf-8', errors='replace')
