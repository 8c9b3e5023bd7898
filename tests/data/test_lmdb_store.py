"""LMDBs written by BasicSR, whole and broken in each way a copy can break them."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from deeprftv2_arch.data.lmdb_store import pair_lmdbs, read_lmdb
from deeprftv2_arch.utils.errors import UserError


@pytest.fixture
def databases(write_pairs, as_lmdb):
    folders = write_pairs(count=5)
    return as_lmdb(folders.lq), as_lmdb(folders.gt)


def test_reads_what_the_basicsr_wrote(databases):
    lq, gt = databases
    pairs = pair_lmdbs(str(gt), str(lq))
    assert [pair.gt for pair in pairs] == ['000', '001', '002', '003', '004']
    assert all(pair.lq == pair.gt for pair in pairs)
    stored = cv2.imdecode(np.frombuffer(read_lmdb(str(gt), '003'), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, cv2.imread(str(gt.with_suffix('') / '003.png')))
    # A second data set of the same process may take the same databases.
    assert pair_lmdbs(str(gt), str(lq)) == pairs


@pytest.mark.parametrize('name', ['meta_info.txt', 'data.mdb'])
def test_missing_file_is_named(databases, name):
    lq, gt = databases
    (lq / name).unlink()
    with pytest.raises(UserError, match=rf'dataroot_lq: {lq} has no {name}'):
        pair_lmdbs(str(gt), str(lq))


def test_missing_database_is_named(databases):
    lq, gt = databases
    shutil.rmtree(gt)
    with pytest.raises(UserError, match=rf"dataroot_gt: there is no folder '{gt}'"):
        pair_lmdbs(str(gt), str(lq))


def test_databases_of_other_keys_are_refused(databases, write_pairs, as_lmdb):
    more = as_lmdb(write_pairs('more', count=7).lq)
    with pytest.raises(UserError, match=rf'keys differ: 2 only in {more} \(005, 006\)'):
        pair_lmdbs(str(databases[1]), str(more))


def test_meta_file_must_tell_the_truth(databases):
    lq, gt = databases
    meta = gt / 'meta_info.txt'
    meta.write_text(meta.read_text() + '005.png (40,48,3) 1\n')
    with pytest.raises(UserError, match=r'1 only in .*meta_info\.txt \(005\)'):
        pair_lmdbs(str(gt), str(lq))
    meta.write_text('000.png (40,48,3) 1\n')
    with pytest.raises(UserError, match=r'4 only in .*data\.mdb'):
        pair_lmdbs(str(gt), str(lq))


@pytest.mark.parametrize('size', [0, 100, 5000, 30_000])
def test_truncated_database_is_refused_before_it_is_read(databases, size):
    # Reading beyond the end of the memory map would kill the process with a bus error.
    lq, gt = databases
    with open(gt / 'data.mdb', 'r+b') as file:
        assert file.seek(0, 2) > size
        file.truncate(size)
    with pytest.raises(UserError, match=str(gt)):
        pair_lmdbs(str(gt), str(lq))


def test_what_is_no_database_is_refused(databases):
    lq, gt = databases
    (gt / 'data.mdb').write_bytes(b'garbage' * 10_000)
    with pytest.raises(UserError, match=f'{gt}: cannot read the LMDB'):
        pair_lmdbs(str(gt), str(lq))


def test_missing_key_is_named(databases):
    with pytest.raises(UserError, match=r"no key 'absent'"):
        read_lmdb(str(databases[0]), 'absent')
