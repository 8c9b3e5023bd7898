"""The scripts that prepare all sets of a folder of downloads, run as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from prepare.miniatures import build_hide_original
from processes import ROOT, TIMEOUT, variables

SCRIPTS = sorted((ROOT / 'scripts').glob('prepare_*.sh'))


def run(script, *arguments, folder, python=sys.executable):
    command = ['sh', str(script), *map(str, arguments)]
    environment = variables([ROOT], PYTHON=python)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT)


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda script: script.stem)
def test_without_a_folder_the_script_says_how_to_use_it(script, tmp_path):
    done = run(script, folder=tmp_path)
    assert done.returncode == 2
    assert f'scripts/{script.name} DOWNLOADS' in done.stderr


def test_what_is_there_is_prepared_and_checked(tmp_path):
    (tmp_path / 'scripts').mkdir()
    script = shutil.copy(ROOT / 'scripts' / 'prepare_deblurring.sh', tmp_path / 'scripts')
    build_hide_original(tmp_path / 'downloads')
    done = run(script, 'downloads', '--allow-incomplete', '--workers', '1', folder=tmp_path)
    # A set in small is incomplete, which the check finds; the script ends there.
    assert done.returncode == 1, done.stderr
    assert 'gopro: no' in done.stdout
    assert 'datasets/HIDE/test/blur: 3 pairs, there should be 2,025.' in done.stdout
    assert len(list((tmp_path / 'datasets' / 'HIDE' / 'test' / 'sharp').iterdir())) == 3


@pytest.mark.parametrize('flickr', [None, 'Flickr2K_HR', 'Flickr2K'])
def test_super_resolution_takes_flickr2k_where_it_is(tmp_path, flickr):
    script = ROOT / 'scripts' / 'prepare_super_resolution.sh'
    if flickr:
        (tmp_path / flickr).mkdir()
    done = run(script, tmp_path, '--scales', '4', folder=tmp_path, python='echo')  # says what it would run
    assert done.returncode == 0, done.stderr
    sets = {'div2k': ('DIV2K', tmp_path), 'df2k': ('DF2K', tmp_path), 'srbench': ('SR', tmp_path / 'benchmark')}
    expected = []
    for name, (folder, source) in sets.items():
        if name == 'df2k' and not flickr:
            expected.append(f'df2k: no {tmp_path}/Flickr2K_HR, passed over')
            continue
        make = f'-m deeprftv2_arch prepare {name} --source {source} --out datasets/{folder} --scales 4'
        expected += [make, f'-m deeprftv2_arch check {name} --root datasets/{folder}']
    assert done.stdout.splitlines() == expected
