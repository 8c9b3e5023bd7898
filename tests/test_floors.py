"""The floors of the package: which folder may import which, no circles, small modules, an empty top."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'deeprftv2_arch'
FLOORS = [
    {'__init__', '__main__', 'train', 'test'},
    {'cli'},
    {'launch'},
    {'basicsr_compat'},
    {'page', 'export'},
    {'prepare', 'report', 'restoration', 'spandrel'},
    {'models'},
    {'evaluation'},
    {'data', 'losses'},
    {'metrics'},
    {'checkpoints', 'analysis'},
    {'config'},
    {'archs'},
    {'nn'},
    {'distributed'},
    {'utils', '_version'},
]
"""From the top down. A folder imports from those below it."""

FLOOR = {folder: number for number, floor in enumerate(FLOORS) for folder in floor}
MODULES = {
    '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__'): path
    for path in PACKAGE.rglob('*.py')
}


def imports(module: str) -> Iterator[str]:
    """Yield what a module imports of the package, also inside functions and for type checkers only."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding='utf-8'))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f'{module} imports relatively'
            for alias in node.names:
                name = f'{node.module}.{alias.name}'
                names.append(name if name.removeprefix('deeprftv2_arch.') in MODULES else str(node.module))
        for name in names:
            if name == 'deeprftv2_arch':
                yield '__init__'
            elif name.startswith('deeprftv2_arch.'):
                yield name.removeprefix('deeprftv2_arch.')


def test_no_import_upwards_or_sideways():
    wrong = []
    for module in MODULES:
        folder = module.partition('.')[0]
        for imported in imports(module):
            other = imported.partition('.')[0]
            if other != folder and FLOOR[other] <= FLOOR[folder]:
                wrong.append(f'{module} imports {imported}')
    assert wrong == []


def test_no_circle_between_modules():
    graph = {module: {name for name in imports(module) if name != module} for module in MODULES}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)  # CycleError names the circle


def test_modules_are_short_and_the_top_is_empty():
    lengths = {module: len(path.read_text(encoding='utf-8').splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}
    at_the_top = {path.stem for path in PACKAGE.glob('*.py')}
    assert at_the_top == {'__init__', '__main__', 'train', 'test', '_version'}
