"""Interrupted and started again, changed and started again: the result is that of one whole run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import pytest
from prepare.miniatures import build_dpdd_original, build_gopro_original, build_reds_original, frame, save
from processes import ROOT, TIMEOUT, variables

from deeprftv2_arch.cli.check_data import check
from deeprftv2_arch.data.lmdb_store import read_lmdb
from deeprftv2_arch.prepare import deblurring, lmdb_writer
from deeprftv2_arch.prepare.files import is_current
from deeprftv2_arch.prepare.pair_job import prepare_pair
from deeprftv2_arch.utils.errors import UserError

pytestmark = pytest.mark.usefixtures('small_sets')


@pytest.mark.parametrize('done', [0, 4, 8])
def test_an_interrupted_run_is_completed(done, prepare, contents, tmp_path, monkeypatch):
    source = build_gopro_original(tmp_path / 'source')
    before = contents(source)
    whole = prepare('gopro', source, '--lmdb', out='whole')
    calls = []

    def interrupted(item, dirs):
        calls.append(item)
        if len(calls) > done:
            raise KeyboardInterrupt
        return prepare_pair(item, dirs)

    with monkeypatch.context() as patch:
        patch.setattr(deblurring, 'prepare_pair', interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare('gopro', source, '--lmdb')
    out = tmp_path / 'out'
    assert not json.loads((out / 'manifest.json').read_text())['complete']
    assert any('interrupted' in finding for finding in check('gopro', out))
    started = {path: path.stat().st_ino for path in out.rglob('*.png')}
    prepare('gopro', source, '--lmdb')
    assert len(started) == 2 * done
    assert {path: path.stat().st_ino for path in started} == started, 'finished files were written again'
    assert contents(out / 'train').keys() == contents(whole / 'train').keys()
    images = [name for name in contents(whole) if name.endswith('.png')]
    assert {name: contents(out)[name] for name in images} == {name: contents(whole)[name] for name in images}
    assert check('gopro', out, lmdb=True) == []
    assert contents(source) == before


def test_a_run_killed_while_packing_leaves_no_half_database(prepare, tmp_path, monkeypatch):
    source = build_gopro_original(tmp_path / 'source')
    fill = lmdb_writer._fill

    def killed(*arguments):
        fill(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lmdb_writer, '_fill', killed)
        with pytest.raises(KeyboardInterrupt):
            prepare('gopro', source, '--lmdb')
    out = tmp_path / 'out'
    assert not list(out.glob('**/*.lmdb'))
    (out / '.partial').mkdir()
    (out / '.partial' / 'train%blur%left.png').write_bytes(b'half')
    prepare('gopro', source, '--lmdb')
    assert not (out / '.partial').exists()
    assert check('gopro', out, lmdb=True) == []


def test_a_second_run_writes_nothing(prepare, tmp_path, capsys):
    source = build_reds_original(tmp_path / 'source')
    out = prepare('reds', source, '--lmdb')
    states = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file()}
    manifest = json.loads((out / 'manifest.json').read_text())
    capsys.readouterr()
    prepare('reds', source, '--lmdb')
    assert 'Files written now: 0, databases: 0.' in capsys.readouterr().out
    del states[out / 'manifest.json']
    assert {path: path.stat().st_mtime_ns for path in states} == states
    assert json.loads((out / 'manifest.json').read_text()) == manifest


def test_what_changed_in_the_source_is_made_again(prepare, tmp_path, capsys):
    source = build_gopro_original(tmp_path / 'source')
    out = prepare('gopro', source, '--lmdb')
    changed, name = source / 'test/GOPR0384_11_00/blur/000048.png', 'test/blur/GOPR0384_11_00-000048.png'
    time_before = changed.stat().st_mtime
    save(changed, cv2.blur(cv2.imread(str(changed)), (1, 5)))
    os.utime(changed, (time_before + 10, time_before + 10))
    capsys.readouterr()
    prepare('gopro', source, '--lmdb')
    assert 'Files written now: 1, databases: 1.' in capsys.readouterr().out
    assert (out / name).read_bytes() == changed.read_bytes()
    assert check('gopro', out, lmdb=True) == []


def test_databases_and_crops_of_earlier_runs_are_kept_up_to_date(prepare, tmp_path):
    source = tmp_path / 'source'
    for index in range(2):
        for role, image in zip(('blur', 'sharp'), frame(index, 0, (512, 600)), strict=True):
            save(source / 'train' / 'SEQ' / role / f'{index:06}.png', image)
    options = ('--parts', 'train', '--allow-incomplete')
    out = prepare('gopro', source, '--crops', '--lmdb', *options)
    changed = source / 'train/SEQ/blur/000001.png'
    blur, _ = frame(9, 0, (512, 600))
    save(changed, blur)
    os.utime(changed, (1_000_000_000, 1_000_000_000))
    prepare('gopro', source, *options)
    crop = cv2.imread(str(out / 'train/blur_crops/SEQ-000001_s002.png'))
    assert (crop == blur[:, 88:]).all()
    stored = read_lmdb(str(out / 'train/blur_crops.lmdb'), 'SEQ-000001_s002')
    assert stored == (out / 'train/blur_crops/SEQ-000001_s002.png').read_bytes()


@pytest.mark.parametrize(
    ('made', 'changed', 'current'),
    [
        (1_500_000_000, 1_500_000_000, True),
        (1_500_000_000, 1_500_000_123, True),  # a file system that keeps microseconds
        (2_000_000_000, 3_900_000_000, True),  # one that keeps even seconds
        (1_500_000_000, 1_600_000_000, False),
        (2_000_000_000, 4_100_000_000, False),
        (2_000_000_000, 3_000_000_000, False),
    ],
)
def test_a_file_is_current_if_it_has_the_time_of_its_source(made, changed, current, tmp_path):
    for name, time_ns in [('target', made), ('source', changed)]:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(time_ns, time_ns))
    assert is_current(tmp_path / 'target', tmp_path / 'source') == current
    assert not is_current(tmp_path / 'nothing', tmp_path / 'source')


def test_a_damaged_copy_is_made_again(prepare, tmp_path):
    source = build_gopro_original(tmp_path / 'source')
    out = prepare('gopro', source)
    victim = out / 'train/sharp/GOPR0372_07_00-000047.png'
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-20])
    prepare('gopro', source)
    assert victim.read_bytes() == whole


def test_another_bit_depth_needs_another_folder(prepare, tmp_path):
    source = build_dpdd_original(tmp_path / 'source')
    prepare('dpdd', source)
    with pytest.raises(UserError, match=r'was prepared with bit_depth 8, not 16\. Name another folder'):
        prepare('dpdd', source, '--bit-depth', '16')


def test_ctrl_c_ends_all_processes_and_the_next_run_goes_on(tmp_path):
    """As a user would: the keyboard's signal goes to the whole group of processes."""
    source = tmp_path / 'source'
    for index in range(60):
        for role, image in zip(('blur', 'sharp'), frame(1, index), strict=True):
            save(source / 'test' / 'SEQ' / role / f'{index:06}.png', image)
    slowly = (
        'import signal, sys, time\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # which a shell in the background turns off
        'from deeprftv2_arch.prepare import pair_job\n'
        'from deeprftv2_arch.cli.main import main\n'
        'write = pair_job.write_file\n'
        'pair_job.write_file = lambda *given: (time.sleep(0.1), write(*given))\n'
    )
    command = [
        sys.executable,
        '-c',
        f'{slowly}sys.exit(main())',
        'prepare',
        'gopro',
        '--source',
        str(source),
        '--out',
        'out',
    ]
    command += ['--parts', 'test', '--allow-incomplete', '--workers', '2']
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    with subprocess.Popen(command, cwd=tmp_path, env=variables([ROOT]), start_new_session=True, **pipes) as process:
        blurred, end = tmp_path / 'out' / 'test' / 'blur', time.monotonic() + TIMEOUT
        while not list(blurred.glob('*.png')) and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == 'Interrupted. Run the same command again to go on.'
    assert 'Traceback' not in errors
    finished = len(list(blurred.glob('*.png')))
    assert 0 < finished < 60
    command[2] = 'import sys; from deeprftv2_arch.cli.main import main; sys.exit(main())'
    again = subprocess.run(
        command, cwd=tmp_path, env=variables([ROOT]), capture_output=True, text=True, timeout=TIMEOUT
    )
    assert again.returncode == 0, again.stderr
    assert len(list(blurred.glob('*.png'))) == 60
    assert json.loads((tmp_path / 'out' / 'manifest.json').read_text())['complete']
