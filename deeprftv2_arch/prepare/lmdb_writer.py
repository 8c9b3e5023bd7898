"""LMDBs in BasicSR's layout, ``data.mdb`` beside ``meta_info.txt``, of the files of a folder as they are."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from itertools import islice, pairwise
from pathlib import Path

import lmdb

from deeprftv2_arch.prepare.plan import Made, Place
from deeprftv2_arch.prepare.workers import run_jobs
from deeprftv2_arch.utils.errors import UserError

_FINGERPRINT = 'files.sha256'
"""Beside the data: which files, of which size and time, the database was made of."""

_PER_TRANSACTION = 64
_PAGE = 4096


def write_lmdb(folder: str, made: Sequence[Made], place: Place) -> bool:
    """Pack the files of a folder into ``<folder>.lmdb``, unless that was made of the same files before.

    Keys are the stems. Values are the files' bytes: nothing is encoded again, so a JPEG file stays one, and both of
    BasicSR's and our readers decode it to just what they read from the folder.

    Args:
        folder: Folder below ``place.out``.
        made: Its files.
        place: Where it is, and where an unfinished database goes.

    Returns:
        Whether it was written now.

    Raises:
        UserError: If two files have the same stem.
    """
    files = sorted(made, key=lambda entry: _key(entry.file))
    keys = [_key(entry.file) for entry in files]
    if len(set(keys)) < len(keys):
        twice = next(key for key, after in pairwise(keys) if key == after)
        raise UserError(f'{place.out / folder}: two files have the stem {twice}, which would be one key of an LMDB.')
    target = place.out / f'{folder}.lmdb'
    state = _fingerprint(place.out, files)
    if (target / 'data.mdb').is_file() and _read(target / _FINGERPRINT) == state:
        return False
    unfinished = place.scratch / target.name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    _fill(unfinished, files, place.out, f'{folder}.lmdb')
    lines = (f'{Path(entry.file).name} ({entry.height},{entry.width},3) 1\n' for entry in files)
    (unfinished / 'meta_info.txt').write_text(''.join(lines), encoding='utf-8')
    (unfinished / _FINGERPRINT).write_text(state, encoding='utf-8')
    if target.exists():
        shutil.rmtree(target)
    unfinished.rename(target)
    return True


def _fill(database: Path, files: Sequence[Made], out: Path, label: str) -> None:
    sizes = [(out / entry.file).stat().st_size for entry in files]
    # Every value starts a page of its own; the pages of the tree are few beside them.
    room = sum((size // _PAGE + 3) * _PAGE for size in sizes) * 11 // 10 + (1 << 20)
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


def _fingerprint(out: Path, files: Sequence[Made]) -> str:
    digest = hashlib.sha256()
    for entry in files:
        status = (out / entry.file).stat()
        digest.update(f'{entry.file}\t{status.st_size}\t{status.st_mtime_ns}\n'.encode())
    return digest.hexdigest()


def _read(path: Path) -> str:
    return path.read_text(encoding='utf-8') if path.is_file() else ''
