"""Classes and functions of Python source files, read and not imported."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import operator
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef
P = inspect.Parameter


class UnreadableError(Exception):
    """Something that only running the source would tell."""


class Unknown:
    """In the place of a default that is not a plain value, and of a class that no option file has a value for."""


class Definition(NamedTuple):
    """A class or function, and the module that it stands in."""

    module: Module
    node: ast.ClassDef | Function


class Module:
    """The names at the top of a source file.

    Args:
        name: As it would be imported.
        file: The source file.
    """

    def __init__(self, name: str, file: Path) -> None:
        self.name = name
        self.is_package = file.name == '__init__.py'
        self.definitions: dict[str, ast.ClassDef | Function] = {}
        self.imports: dict[str, str] = {}
        for node in _top_level(ast.parse(file.read_bytes()).body):
            if isinstance(node, ast.ClassDef | Function):
                self.definitions[node.name] = node
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.split('.')[0]
                    self.imports[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node)
                self.imports |= {alias.asname or alias.name: f'{source}.{alias.name}' for alias in node.names}

    def dotted(self, node: ast.expr) -> str:
        """The dotted name that an expression such as `nn.Module` stands for; empty if it is no name."""
        if isinstance(node, ast.Attribute):
            owner = self.dotted(node.value)
            return f'{owner}.{node.attr}' if owner else ''
        if not isinstance(node, ast.Name):
            return ''
        return f'{self.name}.{node.id}' if node.id in self.definitions else self.imports.get(node.id, node.id)

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ''
        parts = self.name.split('.')
        parents = parts[: len(parts) - node.level + self.is_package]
        return '.'.join([*parents, *filter(None, [node.module])])


@functools.cache
def package_folder(name: str) -> Path | None:
    """The folder of an installed top-level package, found without importing it."""
    spec = importlib.util.find_spec(name)
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    return folder if folder is not None and folder.is_dir() else None  # not one in an archive


@functools.cache
def read_module(name: str) -> Module | None:
    """A module of an installed package; None if there is none of that name that is a source file."""
    top, *parts = name.split('.')
    folder = package_folder(top)
    if folder is None:
        return None
    path = folder.joinpath(*parts)
    files = (path / '__init__.py', path.with_suffix('.py')) if parts else (path / '__init__.py',)
    return next((Module(name, file) for file in files if file.is_file()), None)


def find_definition(dotted: str) -> Definition:
    """Follow a dotted name through imports to the class or function.

    Raises:
        UnreadableError: It is made in another way.
    """
    seen = set()
    while dotted not in seen:
        seen.add(dotted)
        owner, _, name = dotted.rpartition('.')
        module = read_module(owner) if owner else None
        if module is not None and name in module.definitions:
            return Definition(module, module.definitions[name])
        if module is None or name not in module.imports:
            break
        dotted = module.imports[name]
    raise UnreadableError(f'{dotted} is not defined in a source file')


def lookup_order(definition: Definition) -> Iterator[Definition]:
    """A class and its bases, depth first, as far as they are in the same top-level package or in ours.

    Raises:
        UnreadableError: A base is computed.
    """
    yield definition
    module, node = definition
    for base in node.bases if isinstance(node, ast.ClassDef) else ():
        dotted = module.dotted(base)
        if dotted.split('.')[0] in (module.name.split('.')[0], 'basicsr'):
            found = find_definition(dotted)
            if found == definition:  # it takes the name of its base
                raise UnreadableError(f'{dotted} is defined twice')
            yield from lookup_order(found)


def parameters(definition: Definition) -> tuple[P, ...]:
    """What a class or function is called with; annotations are left out.

    Raises:
        UnreadableError: The signature is made in another way than by `def`.
    """
    node = definition.node
    if isinstance(node, Function):
        return _parameters(node.args)
    return _parameters(_constructor(definition).args)[1:]


def annotations(definition: Definition) -> dict[str, Any]:
    """The types of the parameters as far as they are types that option files have values of; `Any` for others."""
    node = definition.node
    arguments = (node if isinstance(node, Function) else _constructor(definition)).args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {a.arg: _kind(a.annotation) for a in every if a.annotation is not None}


def docstrings(definition: Definition) -> tuple[str, ...]:
    """The docstrings of a class and its bases, or of a function, as `inspect.cleandoc` has them."""
    return tuple(inspect.cleandoc(ast.get_docstring(node, clean=False) or '') for _, node in lookup_order(definition))


NO_CONSTRUCTOR = ast.parse('def __init__(self, *args, **kwargs): ...').body[0]
"""What `torch.nn.Module` has."""


def _constructor(definition: Definition) -> Function:
    for module, node in lookup_order(definition):
        methods = {item.name: item for item in node.body if isinstance(item, Function)}
        if '__new__' in methods or any(k.arg == 'metaclass' for k in node.keywords):
            raise UnreadableError(f'{module.name}.{node.name} is made in a way of its own')
        if '__init__' in methods:
            if methods['__init__'].decorator_list:
                raise UnreadableError(f'{module.name}.{node.name}.__init__ is decorated')
            return methods['__init__']
        if [module.dotted(base) for base in node.bases] == ['torch.nn.Module']:
            return NO_CONSTRUCTOR
    raise UnreadableError(f'{definition.module.name}.{definition.node.name} has a foreign constructor')


def _parameters(arguments: ast.arguments) -> tuple[P, ...]:
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [P.empty] * (len(positional) - len(arguments.defaults)) + [_literal(node) for node in arguments.defaults]
    found = [
        P(a.arg, P.POSITIONAL_ONLY if a in arguments.posonlyargs else P.POSITIONAL_OR_KEYWORD, default=default)
        for a, default in zip(positional, defaults, strict=True)
    ]
    if arguments.vararg:
        found.append(P(arguments.vararg.arg, P.VAR_POSITIONAL))
    for a, node in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append(P(a.arg, P.KEYWORD_ONLY, default=P.empty if node is None else _literal(node)))
    if arguments.kwarg:
        found.append(P(arguments.kwarg.arg, P.VAR_KEYWORD))
    return tuple(found)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return Unknown


_PLAIN: Mapping[str, Any] = {
    **{kind.__name__: kind for kind in (bool, int, float, str, list, tuple, dict)},
    **{'List': list, 'Tuple': tuple, 'Dict': dict, 'Sequence': Sequence, 'Iterable': Iterable, 'Mapping': Mapping},
    'Tensor': Unknown,
}


def _kind(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return _kind(ast.parse(node.value, mode='eval').body) if isinstance(node.value, str) else types.NoneType
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _kind(node.left) | _kind(node.right)
    if isinstance(node, ast.Subscript):
        return _generic(_name(node.value), node.slice)
    return _PLAIN.get(_name(node), Any)


def _generic(name: str, inner: ast.expr) -> Any:
    arguments = inner.elts if isinstance(inner, ast.Tuple) else [inner]
    if name == 'Literal':
        return Literal[tuple(ast.literal_eval(argument) for argument in arguments)]
    kinds = tuple(... if isinstance(a, ast.Constant) and a.value is ... else _kind(a) for a in arguments)
    if name in ('Union', 'Optional'):
        return functools.reduce(operator.or_, (*kinds, types.NoneType) if name == 'Optional' else kinds)
    return types.GenericAlias(_PLAIN[name], kinds) if name in _PLAIN else Any


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, 'id', '')


def _top_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run on import, those in `if` and `try` too."""
    for node in body:
        yield node
        for block in ('body', 'orelse', 'finalbody') if isinstance(node, ast.If | ast.Try | ast.With) else ():
            yield from _top_level(getattr(node, block, ()))
        for handler in getattr(node, 'handlers', ()):
            yield from _top_level(handler.body)
