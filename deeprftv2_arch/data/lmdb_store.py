"""Reading images out of LMDBs in BasicSR's layout: ``data.mdb`` beside ``meta_info.txt``."""

from __future__ import annotations

import os

import lmdb
from basicsr.utils import FileClient

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.pairing import ImagePair, lmdb_keys, shorten
from deeprftv2_arch.utils.errors import UserError

_clients: dict[str, FileClient] = {}
"""One client for each database and process: LMDB refuses to open a database twice in one process."""


def pair_lmdbs(gt_root: str, lq_root: str) -> list[ImagePair]:
    """Pair two databases by key, after checking that both really hold every key of their meta files.

    Returns:
        The pairs, sorted by key.

    Raises:
        UserError: If a file is missing or truncated, or if meta files or databases differ in their keys.
    """
    keys = {}
    for root, option in [(gt_root, 'dataroot_gt'), (lq_root, 'dataroot_lq')]:
        keys[root] = set(lmdb_keys(root, option))
        _compare(keys[root], f'{root}/meta_info.txt', _stored_keys(root), f'{root}/data.mdb')
    _compare(keys[gt_root], gt_root, keys[lq_root], lq_root)
    return [ImagePair(lq=key, gt=key) for key in sorted(keys[gt_root])]


def read_lmdb(root: str, key: str, *, readahead: bool = False) -> bytes:
    """Read one entry through BasicSR's FileClient, which is opened at the first read of the process.

    Args:
        root: Folder of the database.
        key: Name of the entry.
        readahead: Whether the operating system may read ahead: faster where the database fits in memory.

    Raises:
        DataError: If the database cannot be opened or has no such key.
    """
    try:
        path = os.path.abspath(root)
        if path not in _clients:
            _clients[path] = FileClient('lmdb', db_paths=[path], client_keys=['image'], readahead=readahead)
        value = _clients[path].get(key, 'image')
    except lmdb.Error as error:
        raise DataError(f'{root}: cannot read the LMDB: {error}.') from error
    if value is None:
        raise DataError(f'{root}: the LMDB has no key {key!r}. Make it again.')
    return value


def peek_lmdb(root: str, key: str) -> bytes:
    """Read one entry of a database whose keys were checked, and leave the database closed if it was.

    Raises:
        DataError: If the database cannot be opened.
    """
    path = os.path.abspath(root)
    if path in _clients:
        return read_lmdb(root, key)
    try:
        with _open(path) as database, database.begin() as transaction:
            return bytes(transaction.get(key.encode()) or b'')
    except lmdb.Error as error:
        raise DataError(f'{root}: cannot read the LMDB: {error}.') from error


def _stored_keys(root: str) -> set[str]:
    """Read the keys of a database that this process has not opened yet, and close it again.

    Worker processes then open it for themselves: an environment should not be carried across a fork.
    """
    path = os.path.abspath(root)
    if path in _clients:
        # Keys and size were checked when the first data set of this process took the database.
        return set(lmdb_keys(root, 'dataroot'))
    try:
        with _open(path) as database:
            # A read beyond the end of a truncated file would kill the process, so the size is checked first.
            size, needed = os.path.getsize(os.path.join(path, 'data.mdb')), _size_in_header(database)
            if size < needed:
                raise UserError(
                    f'{root}/data.mdb is truncated: {size:,} bytes where its header says {needed:,}. Copy it again or '
                    'make it again.'
                )
            with database.begin() as transaction:
                return {bytes(key).decode() for key in transaction.cursor().iternext(values=False)}
    except (lmdb.Error, UnicodeDecodeError) as error:
        raise UserError(f'{root}: cannot read the LMDB: {error}. Copy it again or make it again.') from error


def _open(path: str) -> lmdb.Environment:
    return lmdb.open(path, readonly=True, lock=False, readahead=False)


def _size_in_header(database: lmdb.Environment) -> int:
    return (database.info()['last_pgno'] + 1) * database.stat()['psize']


def _compare(keys: set[str], where: str, other_keys: set[str], other: str) -> None:
    differences = [
        f'{len(only)} only in {place} ({shorten(sorted(only))})'
        for only, place in [(keys - other_keys, where), (other_keys - keys, other)]
        if only
    ]
    if differences:
        raise UserError(f'LMDB keys differ: {"; ".join(differences)}. Make both databases from paired folders again.')
