"""The folders of a run, as they were before it."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deeprftv2_arch.utils.errors import UserError


class RunFolders:
    """Restores the folders of a run that came to nothing.

    BasicSR renames a folder that exists to `<name>_archived_<time>` at the start of a run.

    Args:
        folders: Folders that the run will make.
    """

    LOGS = re.compile(r'.+\.(log|ya?ml|csv)|events\.out\.tfevents.*')

    def __init__(self, folders: Iterable[Path]) -> None:
        self._before = [
            _Before(folder, folder.exists(), _archives(folder), _option_files(folder), _files(folder))
            for folder in folders
        ]

    def restore(self) -> None:
        """Remove folders that are new and hold nothing but logs and options, and undo their archiving.

        Where a run was to be resumed, its options are those of before, and its folder has no log more.
        """
        for before in self._before:
            folder = before.folder
            archived = _archives(folder) - before.archives
            is_new = folder.is_dir() and (archived or not before.existed)
            if is_new and self._holds_only_logs(folder):
                shutil.rmtree(folder)
                if archived:
                    archived.pop().rename(folder)
            for path, content in before.options.items():
                if path.exists():
                    path.write_bytes(content)
            for path in _files(folder):
                if not before.existed or not self.LOGS.fullmatch(path.name):
                    continue
                if path not in before.files:
                    path.unlink()
                elif path.suffix == '.log':  # of a run in the same second, to which this one has added
                    os.truncate(path, min(before.files[path], path.stat().st_size))

    def _holds_only_logs(self, folder: Path) -> bool:
        return all(file.is_dir() or self.LOGS.fullmatch(file.name) for file in folder.rglob('*'))


def refuse_to_archive(folder: Path, options: Mapping[str, Any]) -> None:
    """Refuse a run that reads files of the folder that BasicSR renames to make room for it.

    Args:
        folder: The folder of the run.
        options: All options of the run, as BasicSR has parsed them.

    Raises:
        UserError: Naming the key of such a file.
    """
    if not folder.exists():
        return
    read = {key: value for key, value in options['path'].items() if str(key).startswith('pretrain_network')}
    others = {key: value for key, value in options.items() if key not in ('path', 'name')}
    for key, value in _texts({'path': read, **others}):
        path = Path(value).expanduser()
        if _is_inside(path, folder):
            raise UserError(
                f'{key}: this run would move {path} away, for it stands in {folder}, where the run is to write. Take '
                'another name, or add --auto_resume to go on with that run.'
            )


def _is_inside(path: Path, folder: Path) -> bool:
    try:
        return path.exists() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError):  # texts that are no paths
        return False


def _texts(part: Any, key: str = '') -> Iterator[tuple[str, str]]:
    """All texts among the options, with their keys."""
    if isinstance(part, str):
        yield key, part
    entries: Iterable[tuple[Any, Any]] = ()
    if isinstance(part, Mapping):
        entries = part.items()
    elif isinstance(part, list):
        entries = enumerate(part)
    for name, value in entries:
        yield from _texts(value, f'{key}.{name}' if key else str(name))


class _Before(NamedTuple):
    """A folder before the run."""

    folder: Path
    existed: bool
    archives: set[Path]
    options: dict[Path, bytes]
    files: dict[Path, int]
    """Their sizes in bytes."""


def _archives(folder: Path) -> set[Path]:
    return set(folder.parent.glob(f'{glob.escape(folder.name)}_archived_*'))


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.glob('*') if path.is_file()}


def _option_files(folder: Path) -> dict[Path, bytes]:
    files = [*folder.glob('*.yml'), *folder.glob('*.yaml')]
    return {path: path.read_bytes() for path in files}
