"""The folders of a run, as they were before it."""

from __future__ import annotations

import glob
import re
import shutil
from collections.abc import Iterable
from pathlib import Path


class RunFolders:
    """Restores the folders of a run that came to nothing.

    BasicSR renames a folder that exists to `<name>_archived_<time>` at the start of a run.

    Args:
        folders: Folders that the run will make.
    """

    LOGS = re.compile(r'.+\.(log|ya?ml|csv)|events\.out\.tfevents.*')

    def __init__(self, folders: Iterable[Path]) -> None:
        self.before = {folder: (folder.exists(), self._archives(folder)) for folder in folders}
        self.options = {path: path.read_bytes() for folder in self.before for path in self._option_files(folder)}

    def restore(self) -> None:
        """Remove folders that are new and hold nothing but logs and options, and undo their archiving.

        Where a run was to be resumed, its options are those of before.
        """
        for folder, (existed, archives_before) in self.before.items():
            archived = self._archives(folder) - archives_before
            is_new = folder.is_dir() and (archived or not existed)
            if is_new and all(file.is_dir() or self.LOGS.fullmatch(file.name) for file in folder.rglob('*')):
                shutil.rmtree(folder)
                if archived:
                    archived.pop().rename(folder)
            for path in self._option_files(folder):
                if path in self.options:
                    path.write_bytes(self.options[path])

    @staticmethod
    def _option_files(folder: Path) -> list[Path]:
        return [*folder.glob('*.yml'), *folder.glob('*.yaml')]

    @staticmethod
    def _archives(folder: Path) -> set[Path]:
        return set(folder.parent.glob(f'{glob.escape(folder.name)}_archived_*'))
