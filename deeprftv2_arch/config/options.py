"""How a section of an option file is declared, and what is wrong with one, in words.

A section is a pydantic model derived from `Options`, each of its keys one line::

    class PairedOptions(DatasetOptions):
        recursive: bool = option('Take images of sub-folders too.', False, may_change=True)

A registered data set or model says which section it reads by a class attribute `Options`, and has it read in its
constructor: ``self.options = self.Options.read(opt, where)``. This is all that is needed for a new key, in this package
or in another plugin: the check of option files, the reference in `docs/options.md` and the JSON schema for editors find
the model through BasicSR's registries. Networks, losses and metrics need not do anything: their keys are the arguments
of their constructors, and a section is made from these. One that declares `Options`, with a key `type`, is judged by
that.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)
from pydantic.fields import FieldInfo

from deeprftv2_arch.config.problems import KeyPath
from deeprftv2_arch.config.value_types import as_yaml
from deeprftv2_arch.config.yaml_file import is_number_as_text, number_as_text
from deeprftv2_arch.utils.errors import UserError

Section = TypeVar('Section', bound='Options')

Mistake = tuple[KeyPath, str]
"""A key, and what is wrong with it."""


def option(
    meaning: str,
    default: Any = None,
    *,
    needed: Literal['', 'always', 'run', 'train', 'unstaged', 'test'] = '',
    may_change: bool | Collection[str] = False,
    alias: str | None = None,
    source: str = '',
) -> Any:
    """Declare a key.

    Args:
        meaning: One sentence for the reference.
        default: What holds where the key is absent; None also for no default.
        needed: Who cannot do without the key: `always` the class that reads it; `run` any run, for BasicSR looks it up;
            `train` or `test` such a run; `unstaged` a training without `train.stages`.
        may_change: Whether a resumed training may have another value; of a key with keys of its own, which of these.
        alias: Its name in the option file, if that is not the name of the field.
        source: Where the default comes from.
    """
    details: dict[str, Any] = {
        'needed': needed,
        'may_change': may_change if isinstance(may_change, bool) else list(may_change),
        'source': source,
    }
    return Field(... if needed == 'always' else default, alias=alias, description=meaning, json_schema_extra=details)


class Options(BaseModel):
    """A section of an option file, with typed values.

    Attributes:
        similarity: From which similarity to a known key an unknown one is taken for a misspelt one. Where unknown keys
            are allowed, only such a key is refused; none with a similarity above 1.
    """

    model_config = ConfigDict(strict=True, extra='forbid', frozen=True)
    similarity: ClassVar[float] = 0.6

    @classmethod
    def read(cls: type[Section], part: Mapping[str, Any], where: str, reader: str = '') -> Section:
        """Make the section from values of an option file.

        Args:
            part: The values.
            where: What to call the section in a message, such as `train`.
            reader: Name of the class that reads it.

        Raises:
            UserError: For everything that is wrong with it, a line each.
        """
        found = [f'{".".join((where, *path))}: {message}' for path, message in problems(cls, part, reader=reader)]
        if found:
            raise UserError('\n'.join(found))
        return cls.model_validate(part)


def fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section by the names that they have in an option file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def detail(field: FieldInfo, name: str) -> Any:
    """What a key was declared with: `needed`, `may_change` or `source`."""
    return field.json_schema_extra.get(name) if isinstance(field.json_schema_extra, dict) else None


def nested(field: FieldInfo) -> type[Options] | None:
    """The section of a key with keys of its own, or with a list of such entries; None for any other."""
    kinds: list[Any] = [field.annotation]
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Options):
            return kind
        kinds += get_args(kind)
    return None


def find(section: type[BaseModel], name: object) -> FieldInfo | None:
    """The declaration of a key. What is declared for network `g` holds for those of all letters: `network_d`."""
    known = fields(section)
    return known.get(str(name)) or known.get(re.sub('_[a-z0-9]+$', '_g', str(name)))


def unchanging(section: type[BaseModel], part: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what a resumed training may have another value of; data paths are among it, as names are compared."""
    kept = {}
    for name, value in part.items():
        field = find(section, name)
        may_change = field is not None and detail(field, 'may_change')
        if isinstance(may_change, list) and isinstance(value, Mapping):
            kept[name] = {key: entry for key, entry in value.items() if key not in may_change}
        elif not may_change or isinstance(may_change, list):
            kept[name] = value
    return kept


def problems(
    section: type[Options],
    part: Any,
    path: KeyPath = (),
    *,
    reader: str = '',
    run: str = '',
    allowed: dict[KeyPath, Collection[str]] | None = None,
) -> Iterator[Mistake]:
    """Find everything that is wrong with a section: unknown keys, missing ones, and values.

    Args:
        section: Its declaration.
        part: What stands there.
        path: Where it stands.
        reader: Name of the class that reads it, for messages.
        run: `train`, `staged` or `test` to judge the needs of such a run and whether files exist; else those of the
            class alone.
        allowed: Filled with keys that are not known but may be there, and the names of the known ones beside each.
    """
    if not isinstance(part, Mapping):
        yield path, f'expected keys of its own, got {as_yaml(part)}.'
        return
    yield from _wrong_keys(section, part, path, reader, run, {} if allowed is None else allowed)
    wrong: dict[KeyPath, str] = {}
    try:
        section.model_validate(dict(part), context={'run': run})
    except ValidationError as error:
        for item in error.errors(include_url=False):
            if item['type'] not in ('missing', 'extra_forbidden', 'invalid_key'):
                wrong.setdefault(*_wrong_value(section, part, path, item))
    yield from wrong.items()  # of the branches of a union and the entries of a list one each


_NEEDS = {
    '': ('always',),
    'train': ('always', 'run', 'train', 'unstaged'),
    'staged': ('always', 'run', 'train'),
    'test': ('always', 'run', 'test'),
}


def _wrong_keys(
    section: type[BaseModel],
    part: Mapping[str, Any],
    path: KeyPath,
    reader: str,
    run: str,
    allowed: dict[KeyPath, Collection[str]],
) -> Iterator[Mistake]:
    """Find unknown and missing keys, also those of the sections inside."""
    known, suffix = fields(section), f' for {reader}' if reader else ''
    unknown = [str(key) for key in part if find(section, key) is None]
    suggested = []
    for name in unknown:
        cutoff = getattr(section, 'similarity', Options.similarity)
        similar = difflib.get_close_matches(name, known, n=1, cutoff=cutoff) if cutoff <= 1 else []
        suggested += similar
        if similar:
            yield (*path, name), f'unknown key{suffix} (did you mean {similar[0]!r}?).'
        elif section.model_config.get('extra') == 'forbid':
            yield (*path, name), f'unknown key{suffix}. Known keys: {", ".join(sorted(known))}.'
        else:
            unjudged = (*path, name)
            allowed[unjudged] = list(known)
    for name, field in known.items():
        is_absent = name not in part or (part[name] is None and field.get_default() is None)
        if is_absent and detail(field, 'needed') in _NEEDS[run] and name not in suggested:
            needed_by = f', but {reader} needs it' if reader else ''
            similar = difflib.get_close_matches(name, unknown, n=1)
            instead = f' There is {similar[0]!r}: rename it, if it is meant.' if similar else ''
            yield (*path, name), f'missing{needed_by}. {field.description}{instead}'.rstrip()
        inside, value = nested(field), part.get(name)
        if inside is None:
            continue
        entries = enumerate(value) if isinstance(value, list) else [(None, value)]
        for number, entry in entries:
            if isinstance(entry, Mapping):
                place = (*path, name) if number is None else (*path, name, str(number))
                yield from _wrong_keys(inside, entry, place, reader, run, allowed)


def _wrong_value(section: type[BaseModel], part: Any, path: KeyPath, item: Mapping[str, Any]) -> Mistake:
    """Put an error of pydantic into words, at the key that it is about; in lists and unions that of the whole value."""
    steps, wrong = list(path), (path, part)
    schema: Mapping[str, Any] = {}
    for step in item['loc']:
        if isinstance(part, list) and isinstance(step, int):
            part = part[step]
            steps.append(str(step))
            continue
        if not isinstance(part, Mapping) or step not in part:
            break  # a branch of a union
        part = part[step]
        steps.append(str(step))
        wrong = (tuple(steps), part)
        field = fields(section).get(str(step))
        if field is None:
            schema = _schema_of_entries(schema)
        else:
            schema = schemas(section)[str(step)]
            section = nested(field) or section
    if item['type'] == 'value_error':
        return wrong[0], str(item['ctx']['error'])
    got = repr(wrong[1]) if isinstance(wrong[1], str) else as_yaml(wrong[1])
    hint = f' {number_as_text(wrong[1])}' if is_number_as_text(wrong[1]) else ''
    return wrong[0], f'expected {words(schema)}, got {got}.{hint}'


def schemas(section: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of each key of a section; of needed keys without the null that stands for their absence."""
    known = section.model_json_schema().get('properties', {})
    for name, field in fields(section).items():
        choices = [choice for choice in known[name].get('anyOf', ()) if choice != {'type': 'null'}]
        if choices and detail(field, 'needed'):
            known[name]['anyOf'] = choices
    return known


def _schema_of_entries(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON schema of the values of a mapping."""
    for branch in (schema, *schema.get('anyOf', ())):
        if isinstance(branch.get('additionalProperties'), Mapping):
            return branch['additionalProperties']
    return {}


_WORDS = {
    'boolean': 'true or false',
    'integer': 'a whole number',
    'number': 'a number',
    'string': 'text',
    'null': '~',
    'object': 'keys of its own',
    'folder': 'a folder',
    'file': 'a file',
}


def words(schema: Mapping[str, Any]) -> str:
    """Describe the values that a JSON schema allows: ``a whole number of at least 1 or ~``."""
    choices = schema.get('anyOf')
    if choices:
        return ' or '.join(words(choice) for choice in choices)
    if '$ref' in schema:
        return _WORDS['object']
    if 'const' in schema or 'enum' in schema:
        return ' or '.join(as_yaml(value) for value in schema.get('enum', [schema.get('const')]))
    if schema.get('type') == 'array':
        if 'maxItems' in schema:
            return f'a list of {schema["maxItems"]}'
        return f'a list ({words(schema["items"])} each)' if schema.get('items') else 'a list'
    limits = [f'{word} {schema[key]:g}' for key, word in _LIMITS.items() if key in schema]
    name = _WORDS.get(schema.get('format') or schema.get('type', ''), 'anything')
    return f'{name} of {" and ".join(limits)}' if limits else name


_LIMITS = {'minimum': 'at least', 'exclusiveMinimum': 'more than', 'maximum': 'at most', 'exclusiveMaximum': 'below'}
