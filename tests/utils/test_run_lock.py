"""One process at a time in a folder, whatever became of the last one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from deeprftv2_arch.utils import run_lock
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.run_lock import STALE, RunLock


@pytest.fixture
def folder(tmp_path):
    return tmp_path / 'experiments' / 'run'


def edit(lock: RunLock, **changes) -> None:
    """Make a lock that of another process."""
    lock.file.write_text(json.dumps({**json.loads(lock.file.read_text()), **changes}))


def test_a_second_run_is_refused_until_the_first_has_ended(folder):
    first = RunLock(folder, 'a training')
    with pytest.raises(UserError) as refused:
        RunLock(folder, 'a test')
    assert f'{folder} is in use. Process {os.getpid()} on ' in str(refused.value)
    assert 'does a training there since ' in str(refused.value)
    first.release()
    first.release()
    RunLock(folder, 'a test').release()
    assert list(folder.parent.iterdir()) == []


def test_other_names_are_not_in_the_way(folder):
    locks = [RunLock(folder, 'a training'), RunLock(folder.with_name('run_2'), 'a training')]
    for lock in locks:
        lock.release()


def test_a_process_that_was_killed_leaves_nothing_in_the_way(folder):
    code = 'import os, sys; from deeprftv2_arch.utils.run_lock import RunLock; RunLock(sys.argv[1], "x"); os._exit(9)'
    assert subprocess.run([sys.executable, '-c', code, str(folder)], check=False).returncode == 9
    assert len(list(folder.parent.iterdir())) == 1
    RunLock(folder, 'a training').release()
    assert list(folder.parent.iterdir()) == []


def test_a_number_that_another_process_has_by_now(folder):
    edit(RunLock(folder, 'a training'), start='1')
    RunLock(folder, 'a training').release()


def test_a_machine_that_was_started_anew(folder):
    edit(RunLock(folder, 'a training'), boot='of last week')
    RunLock(folder, 'a training').release()


@pytest.mark.parametrize('change', [{'host': 'elsewhere'}, {'space': 'of another container'}])
def test_a_process_that_cannot_be_looked_up_counts_by_its_signs_of_life(folder, change):
    lock = RunLock(folder, 'a training')
    edit(lock, **change)
    with pytest.raises(UserError, match='is in use'):
        RunLock(folder, 'a training')
    old = time.time() - STALE - 1
    os.utime(lock.file, (old, old))
    RunLock(folder, 'a training').release()


def test_a_lock_that_is_just_being_written(folder):
    folder.parent.mkdir(parents=True)
    (folder.parent / '.run.lock').touch()
    with pytest.raises(UserError, match='Another process is beginning there'):
        RunLock(folder, 'a training')


def test_signs_of_life(folder, monkeypatch):
    monkeypatch.setattr(run_lock, 'BEAT', 0.02)
    lock = RunLock(folder, 'a training')
    os.utime(lock.file, (0, 0))
    end = time.monotonic() + 20
    while lock.file.stat().st_mtime < 1 and time.monotonic() < end:
        time.sleep(0.02)
    assert lock.file.stat().st_mtime > 1
    lock.release()


def test_a_run_whose_folder_is_another_ones_by_now(folder):
    lock = RunLock(folder, 'a training')
    lock.check()
    edit(lock, process=1, host='elsewhere')
    with pytest.raises(UserError, match=r'belongs to another run by now\. Process 1 on elsewhere'):
        lock.check()
    lock.release()
    assert lock.file.exists()
