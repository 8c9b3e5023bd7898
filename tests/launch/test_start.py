"""Which programs look at an option file before our names are registered."""

from __future__ import annotations

import sys

import pytest
from processes import ROOT, python

from deeprftv2_arch.launch.start import registers_late

TRAIN = str(ROOT / 'basicsr' / 'train.py')


@pytest.mark.parametrize(
    ('command', 'arguments', 'late'),
    [
        (['python', '-m', 'deeprftv2_arch.train', '-opt', 'x'], ['-m', '-opt', 'x'], True),
        (['python', '-u', '-W', 'ignore', '-m', 'deeprftv2_arch.test'], ['-m'], True),
        (['python', '-mdeeprftv2_arch.test', 'x'], ['-m', 'x'], True),
        (['python', '-um', 'deeprftv2_arch.train'], ['-m'], True),
        (['python', '-umdeeprftv2_arch.train'], ['-m'], True),
        (['python', TRAIN, '-opt', 'x'], [TRAIN, '-opt', 'x'], True),
        (['python', '-m', 'deeprftv2_arch', 'convert', 'x'], ['-m', 'x'], False),
        (['python', '-m', 'deeprftv2_arch.train.more'], ['-m'], False),
        (['python', '-m', 'someones.train', 'deeprftv2_arch.train'], ['-m', 'deeprftv2_arch.train'], False),
        (['python', '-m', 'pdb', '-m', 'deeprftv2_arch.train'], ['-m', '-m', 'deeprftv2_arch.train'], False),
        (['python', 'train.py', TRAIN], ['train.py', TRAIN], False),
        (['python', '-c', 'import deeprftv2_arch', TRAIN], ['-c', TRAIN], False),
        (['python'], [''], False),
        # A data loader's worker that is started anew has the arguments of the training.
        (['python', '-c', 'from multiprocessing...', '--multiprocessing-fork'], [TRAIN, '-opt', 'x'], False),
        (['python', '-c', 'from multiprocessing...', '--multiprocessing-fork'], [TRAIN, *'abcdefgh'], False),
        (['embedded'], [], False),
    ],
)
def test_programs(monkeypatch, command, arguments, late):
    monkeypatch.setattr(sys, 'orig_argv', command)
    monkeypatch.setattr(sys, 'argv', arguments)
    assert registers_late() is late


def test_the_script_is_known_from_any_folder(monkeypatch):
    monkeypatch.chdir(ROOT / 'basicsr')
    monkeypatch.setattr(sys, 'orig_argv', ['python', './train.py'])
    monkeypatch.setattr(sys, 'argv', ['./train.py'])
    assert registers_late()


def test_a_script_of_the_basicsr_is_none_of_ours(monkeypatch, tmp_path):
    """As in a checkout of BasicSR into which this package was copied."""
    script = tmp_path / 'basicsr' / 'train.py'
    monkeypatch.setattr('deeprftv2_arch.launch.start.SCRIPTS', [script])
    monkeypatch.setattr(sys, 'orig_argv', ['python', str(script)])
    monkeypatch.setattr(sys, 'argv', [str(script)])
    assert registers_late()
    script.parent.mkdir()
    script.with_name('__init__.py').touch()
    assert not registers_late()


def test_other_processes_of_a_machine_leave_it_to_the_first(tmp_path):
    """They would find the same a moment sooner or later, and torchrun stops all when one ends."""
    (tmp_path / 'run.yml').write_text('nam: x\n')
    command = ('-X', 'importtime', '-m', 'deeprftv2_arch.train', '-opt', 'run.yml')
    first = python(*command, folder=tmp_path, LOCAL_RANK='0', RANK='0')
    assert first.returncode == 2
    assert 'Error: run.yml:1: nam: unknown key' in first.stderr
    assert ' torch\n' not in first.stderr
    other = python(*command, folder=tmp_path, LOCAL_RANK='1', RANK='1')
    assert other.returncode == 2
    assert 'Error' not in other.stderr
    assert ' torch\n' in other.stderr


def test_each_task_of_slurm_may_be_a_run_of_its_own(tmp_path):
    """As in a sweep that `srun` starts: nothing of them but the environment is in common."""
    (tmp_path / 'run.yml').write_text('nam: x\n')
    slurm = {'SLURM_PROCID': '1', 'SLURM_LOCALID': '1', 'SLURM_NTASKS': '2'}
    command = ('-m', 'deeprftv2_arch.train', '-opt', 'run.yml')
    alone = python(*command, folder=tmp_path, **slurm)
    assert alone.returncode == 2
    assert 'Error: run.yml:1: nam: unknown key' in alone.stderr
    together = python(*command, '--launcher', 'slurm', folder=tmp_path, **slurm)
    assert together.returncode == 2
    assert 'Error' not in together.stderr
