"""The folders of a run, as they were before it."""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class RunFolders:
    """Restores the folders of a run that came to nothing.

    BasicSR renames a folder that exists to `<name>_archived_<time>` at the start of a run.

    Args:
        folders: Folders that the run will make.
    """

    LOGS = re.compile(r'.+\.(log|ya?ml|csv)|events\.out\.tfevents.*')

    def __init__(self, folders: Iterable[Path]) -> None:
        self._before = [
            _Before(folder, folder.exists(), _archives(folder), _option_files(folder)) for folder in folders
        ]

    def restore(self) -> None:
        """Remove folders that are new and hold nothing but logs and options, and undo their archiving.

        Where a run was to be resumed, its options are those of before.
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

    def _holds_only_logs(self, folder: Path) -> bool:
        return all(file.is_dir() or self.LOGS.fullmatch(file.name) for file in folder.rglob('*'))


class _Before(NamedTuple):
    """A folder before the run."""

    folder: Path
    existed: bool
    archives: set[Path]
    options: dict[Path, bytes]


def _archives(folder: Path) -> set[Path]:
    return set(folder.parent.glob(f'{glob.escape(folder.name)}_archived_*'))


def _option_files(folder: Path) -> dict[Path, bytes]:
    files = [*folder.glob('*.yml'), *folder.glob('*.yaml')]
    return {path: path.read_bytes() for path in files}
