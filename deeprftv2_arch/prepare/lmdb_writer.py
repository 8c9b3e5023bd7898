"""LMDBs in BasicSR's layout, ``data.mdb`` beside ``meta_info.txt``, of the files of a folder as they are."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

import lmdb

from deeprftv2_arch.prepare.plan import OutputDirs, OutputFile
from deeprftv2_arch.prepare.workers import run_jobs
from deeprftv2_arch.utils.errors import UserError

_DIGEST = 'files.sha256'
"""Beside the data: which files, of which size and time, the database was made of."""

_PER_TRANSACTION = 64
_PAGE = 4096


def write_lmdb(folder: str, outputs: Sequence[OutputFile], dirs: OutputDirs) -> bool:
    """Pack the files of a folder into ``<folder>.lmdb``, unless that was made of the same files before.

    Keys are the stems. Values are the files' bytes: nothing is encoded again, so a JPEG file stays one, and both of
    BasicSR's and our readers decode it to just what they read from the folder.

    Args:
        folder: Folder below ``dirs.out``.
        outputs: Its files.
        dirs: Folders for the finished and for the unfinished database.

    Returns:
        Whether it was written now.

    Raises:
        UserError: If two files have the same stem.
    """
    files = sorted(outputs, key=lambda entry: _key(entry.file))
    keys = [_key(entry.file) for entry in files]
    for key, following in pairwise(keys):
        if key == following:
            raise UserError(f'{dirs.out / folder}: two files have the stem {key}, which would be one key of an LMDB.')
    target = dirs.out / f'{folder}.lmdb'
    state = _digest(dirs.out, files)
    if (target / 'data.mdb').is_file() and _read(target / _DIGEST) == state:
        return False
    unfinished = dirs.scratch / target.name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    _fill(unfinished, files, dirs.out, f'{folder}.lmdb')
    lines = [f'{Path(entry.file).name} ({entry.height},{entry.width},3) 1\n' for entry in files]
    (unfinished / 'meta_info.txt').write_text(''.join(lines), encoding='utf-8')
    (unfinished / _DIGEST).write_text(state, encoding='utf-8')
    if target.exists():
        shutil.rmtree(target)
    unfinished.rename(target)
    return True


def _fill(database: Path, files: Sequence[OutputFile], out: Path, label: str) -> None:
    room = 0
    for entry in files:
        # Every value starts a page of its own; the pages of the tree are few beside them.
        pages = (out / entry.file).stat().st_size // _PAGE + 3
        room += pages * _PAGE
    room = room * 11 // 10 + (1 << 20)
    with lmdb.open(str(database), map_size=room, lock=False, sync=False) as environment:
        contents = run_jobs(Path.read_bytes, [out / entry.file for entry in files], workers=1, label=label)
        entries = zip((_key(entry.file).encode() for entry in files), contents, strict=True)
        while batch := list(islice(entries, _PER_TRANSACTION)):
            with environment.begin(write=True) as transaction:
                for key, data in batch:
                    transaction.put(key, data, append=True)
        environment.sync(True)


def _key(file: str) -> str:
    return Path(file).stem


def _digest(out: Path, files: Sequence[OutputFile]) -> str:
    digest = hashlib.sha256()
    for entry in files:
        status = (out / entry.file).stat()
        digest.update(f'{entry.file}\t{status.st_size}\t{status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _read(path: Path) -> str:
    if not path.is_file():
        return ''
    return path.read_text(encoding='utf-8')
