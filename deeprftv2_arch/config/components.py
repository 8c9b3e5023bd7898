"""What an option file may name, and the arguments of what it names: from BasicSR's registries, or from `names.json`.

`names.json` is the same, printed by ``deeprftv2 options --names``, so that a mistake is told before torch and BasicSR
are imported, which takes seconds. It only counts as long as the sources that it was made from are those installed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import create_model

from deeprftv2_arch.config.options import Options, option
from deeprftv2_arch.config.schema import OPTIMIZERS, DatasetOptions
from deeprftv2_arch.config.value_types import Betas, Finite  # noqa: F401  # kinds of `NUMBERS`
from deeprftv2_arch.utils.errors import UserError

REGISTRIES = {'arch': 'archs', 'dataset': 'data', 'loss': 'losses', 'metric': 'metrics', 'model': 'models'}
"""Kinds of registered things, as BasicSR's registries are called, and the folders that they are in."""

SCHEDULERS = {
    'MultiStepLR': 'MultiStepRestartLR',
    'MultiStepRestartLR': 'MultiStepRestartLR',
    'CosineAnnealingRestartLR': 'CosineAnnealingRestartLR',
}
"""Schedules of BasicSR, and the classes behind them."""

COMMON_ARGUMENTS = {
    'crop_border': 'Pixels left out at every edge.',
    'trunk': "File with the weights of torchvision's AlexNet; by default it is downloaded.",
}
"""Meaning of arguments that docstrings leave out, being the same in many functions."""

ARGUMENTS = r'^ {4}(\w+(?:,\s+\w+)*)(?: \([^)]*\))?: (.*(?:\n {5,}.*)*)'
"""An entry of `Args`: one or several names, perhaps a type in brackets, the meaning."""

_KINDS: tuple[Any, ...] = (int, float, bool, str, list, dict, Sequence, Mapping, Literal, Any)
PLAIN = {'None', *(kind.__name__ for kind in _KINDS)}
"""What annotations of arguments are made of that option files can have values of, by names that this module has too."""

NUMBERS = {
    'torch.optim.': {
        'lr': 'Finite',
        'betas': 'Betas',
        'weight_decay': 'Finite',
        'momentum': 'Finite',
        'eps': 'Finite',
    },
    'basicsr.models.lr_scheduler': {
        'milestones': 'list[float]',
        'gamma': 'Finite',
        'restarts': 'list[float]',
        'restart_weights': 'list[float]',
        'periods': 'list[float]',
        'eta_min': 'Finite',
    },
    'basicsr.metrics.': {
        'input_order': "Literal['HWC', 'CHW']",
        'test_y_channel': 'bool',
    },
}
"""Arguments of optimizers, schedules and BasicSR's metrics, which look at them late or not at all, by where these
are defined."""

METHODS = ('setup_optimizers', 'setup_schedulers', 'nondist_validation')
"""Methods of models: where they are BasicSR's, what they read is known."""

NAMES = Path(__file__).with_name('names.json')
OURS = 'deeprftv2_arch.'
INSTALLED = (OURS, 'basicsr.', 'torch.optim.')


@dataclass(frozen=True)
class Argument:
    """An argument of a class or function.

    Attributes:
        kind: Its annotation, where it is right, so that values are judged by it; `Any` for what is not ours.
        meaning: What the docstring says.
        required: Whether it has no default.
    """

    kind: str = 'Any'
    meaning: str = ''
    required: bool = False
    default: Any = None


@dataclass(frozen=True)
class Component:
    """A class or function that an option file may name.

    Attributes:
        name: Its own name, which may be another one than it is registered under.
        module: Where it is defined.
        about: The first sentence of its docstring.
        takes_all: Whether it takes arguments of any name.
        options: Module and name of its class attribute `Options`, if it has one.
        sets_up: Of a model: by name of a method, the module of the class that it has the method from.
    """

    name: str
    module: str
    about: str = ''
    arguments: dict[str, Argument] = field(default_factory=dict)
    takes_all: bool = False
    options: str = ''
    sets_up: dict[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it is of this package."""
        return self.module.startswith(OURS)

    def section(self, default: type[Options]) -> type[Options]:
        """The section that a data set or model reads: its `Options`, or the default where it has none."""
        if not self.options:
            return default
        module, _, name = self.options.partition(':')
        found: Any = importlib.import_module(module)
        for part in name.split('.'):
            found = getattr(found, part)
        return found

    def arguments_section(self, given: Collection[str] = ()) -> type[Options]:
        """The section of a class or function whose keys are its arguments, its `type` among them.

        Args:
            given: Arguments that it gets from elsewhere.
        """
        if self.options:
            return self.section(Options)
        keys: dict[str, Any] = {}
        wanted = {'type': Argument('str', 'Its name.', True), **self.arguments}
        for number, (name, argument) in enumerate(wanted.items()):
            if name not in given:
                declared = option(
                    argument.meaning or COMMON_ARGUMENTS.get(name, ''),
                    argument.default,
                    needed='always' if argument.required else '',
                    alias=name,
                )
                # Under names of their own: arguments may be called as methods of pydantic are.
                keys[f'key_{number}'] = (argument.kind, declared)
        base = AnyArguments if self.takes_all else Arguments
        return create_model(self.name, __base__=base, __module__=__name__, __doc__=self.about, **keys)


class Arguments(Options):
    """The arguments of a class or function."""


class AnyArguments(Options, extra='allow'):
    """The same where others may be given too."""

    similarity: ClassVar[float] = 2


Catalogue = dict[str, dict[str, Component]]
"""By kind, one of the `REGISTRIES`, `optimizer` or `scheduler`, and by the name that it is registered under."""


def registered() -> Catalogue:
    """Everything that an option file may name, as it is registered now."""
    import torch
    from basicsr.models import lr_scheduler
    from basicsr.utils import registry

    found = {
        kind: {name: component_of(thing) for name, thing in getattr(registry, f'{kind.upper()}_REGISTRY')}
        for kind in REGISTRIES
    }
    found['optimizer'] = {name: component_of(getattr(torch.optim, name)) for name in OPTIMIZERS}
    found['scheduler'] = {name: component_of(getattr(lr_scheduler, kind)) for name, kind in SCHEDULERS.items()}
    return found


def dataset_section(name: str | None) -> type[DatasetOptions]:
    """The section of a registered data set; that of any data set where its class declares none."""
    from basicsr.utils.registry import DATASET_REGISTRY

    return (
        getattr(DATASET_REGISTRY.get(name), 'Options', DatasetOptions) if name in DATASET_REGISTRY else DatasetOptions
    )


def names_on_file() -> Catalogue | None:
    """The same from `names.json`; None if the sources have changed since it was written."""
    written = json.loads(NAMES.read_text(encoding='utf-8'))
    try:
        if written['digest'] != _digest():
            return None
    except metadata.PackageNotFoundError:
        return None  # torch is not installed, which its import will say
    return {
        kind: {name: _from_json(known) for name, known in names.items()} for kind, names in written['names'].items()
    }


def as_json() -> str:
    """What belongs into `names.json` for what is installed: BasicSR, torch and this package."""
    kinds = []
    for kind, components in registered().items():
        installed = [item for item in sorted(components.items()) if item[1].module.startswith(INSTALLED)]
        lines = ',\n'.join(f'{json.dumps(name)}: {json.dumps(_to_json(component))}' for name, component in installed)
        kinds.append(f'"{kind}": {{\n{lines}\n}}')
    return f'{{"digest": "{_digest()}",\n"names": {{{", ".join(kinds)}}}}}\n'


def _to_json(component: Component) -> dict[str, Any]:
    entry = {key: value for key, value in vars(component).items() if value}
    if component.options and not component.options.startswith(f'{OURS}config.'):
        entry['options'] = f'{__name__}:AnyArguments'  # its import takes long: judged later
    entry['arguments'] = {
        name: {key: value for key, value in vars(argument).items() if value and key != 'default'}
        for name, argument in component.arguments.items()
    }
    return entry


def _from_json(entry: dict[str, Any]) -> Component:
    arguments = {name: Argument(**argument) for name, argument in entry['arguments'].items()}
    return Component(**{**entry, 'arguments': arguments})


def _digest() -> str:
    """Sum up the version of torch, the files of BasicSR that may register names, and those of ours that do."""
    digest = hashlib.sha256(metadata.version('torch').partition('+')[0].encode())
    for package in ('basicsr', 'deeprftv2_arch'):
        spec = importlib.util.find_spec(package)
        root = Path(spec.origin or '').parent if spec else Path()
        for folder in REGISTRIES.values():
            for file in sorted(root.joinpath(folder).glob('*.py')):
                source = file.read_bytes()
                if package == 'basicsr' or b'_REGISTRY.register' in source:
                    digest.update(file.name.encode() + source)
    return digest.hexdigest()


def refusal(component: Component, arguments: Mapping[str, Any]) -> str:
    """Have a class look at its arguments: it is built, and thrown away.

    First without memory. What fails then may be the fault of that, for the networks of others look into their tensors
    while they are built; so it is built again as a run would build it, and what it says then counts.

    Returns:
        What it says against them; empty if it takes them.
    """
    from deeprftv2_arch.utils.rng import preserve_rng_state
    from deeprftv2_arch.utils.shapes_only import shapes_only

    thing = getattr(sys.modules[component.module], component.name)
    with preserve_rng_state():
        try:
            with shapes_only():
                thing(**arguments)
        except Exception:  # whatever a class does with tensors that have no values
            return build_error(thing, arguments)
    return ''


def build_error(thing: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """Build something as a run would, and throw it away.

    Returns:
        What its arguments are to blame for, in one line; empty if it can be built, or if it is this machine that lacks
        a file, a library, memory or a GPU, which another one may have.
    """
    try:
        thing(**arguments)
    except (OSError, ImportError, MemoryError):
        return ''
    except RuntimeError as error:
        is_of_machine = re.search('CUDA|NVIDIA|alloc|out of memory', str(error), flags=re.IGNORECASE)
        return '' if is_of_machine else describe(error)
    except Exception as error:  # whatever a class of others raises
        return describe(error)
    return ''


def describe(error: Exception) -> str:
    """Put what a class raised when it was built or run into one line, with its kind where the text says little."""
    text = ' '.join(str(error).split())
    says_enough = isinstance(error, UserError | ValueError | TypeError) and text
    return text if says_enough else f'it cannot be built or run ({type(error).__name__}{": " if text else ""}{text})'


@cache
def component_of(thing: Callable[..., Any]) -> Component:
    """Describe a class or function by its signature and docstring."""
    owners = thing.__mro__[:-1] if inspect.isclass(thing) else (thing,)
    docs = [inspect.cleandoc(owner.__doc__ or '') for owner in owners]
    parameters = inspect.signature(thing).parameters.values()
    meanings = argument_docs(docs)
    is_ours = thing.__module__.startswith(OURS)
    numbers = next((kinds for place, kinds in NUMBERS.items() if thing.__module__.startswith(place)), {})
    arguments = {
        p.name: Argument(
            _kind(p.annotation) if is_ours else numbers.get(p.name, 'Any'),
            meanings.get(p.name, ''),
            p.default is p.empty,
            p.default if is_ours and p.default is not p.empty else None,
        )
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    options: Any = getattr(thing, 'Options', None)
    is_declared = isinstance(options, type) and issubclass(options, Options)
    return Component(
        thing.__name__,
        thing.__module__,
        _first_sentence(docs),
        arguments,
        # BasicSR's metrics take any keyword and read none of these.
        any(p.kind is p.VAR_KEYWORD for p in parameters) and not thing.__module__.startswith('basicsr.metrics'),
        f'{options.__module__}:{options.__qualname__}' if is_declared else '',
        {method: _module_of(owners, method) for method in METHODS if hasattr(thing, method)},
    )


def argument_docs(docs: Sequence[str]) -> dict[str, str]:
    """Read the `Args` of Google docstrings, each on one line; of a class, with those of its bases that it refers to.

    Args:
        docs: The docstring of a class or function, and those of the bases in the order of inheritance.
    """
    found: dict[str, str] = {}
    for text in reversed(docs):
        block = re.search(r'^Args:\n((?: .*\n?|\n)*)', text, flags=re.MULTILINE)
        for names, meaning in re.findall(ARGUMENTS, block[1], flags=re.MULTILINE) if block else ():
            for name in re.split(r',\s+', names):
                if name not in found or not meaning.startswith('As for'):
                    found[name] = ' '.join(meaning.split())
    return found


def _first_sentence(docs: Iterable[str]) -> str:
    paragraph = ' '.join(next(filter(None, docs), '').split('\n\n')[0].split())
    return re.split(r'(?<=\.)\s', paragraph)[0]


def _kind(annotation: Any) -> str:
    """An annotation as text, where option files have values of that type."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    names = re.findall(r'[A-Za-z_][\w.]*', re.sub(r"'[^']*'", '', text))
    return text if PLAIN.issuperset(names) else 'Any'


def _module_of(classes: Iterable[Any], method: str) -> str:
    return next((owner.__module__ for owner in classes if method in vars(owner)), '')
