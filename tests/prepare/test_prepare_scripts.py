"""The scripts that prepare all sets of a folder of downloads, run as a user would."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from prepare.miniatures import build_hide_original
from processes import ROOT, TIMEOUT, variables

SCRIPTS = sorted((ROOT / 'scripts').glob('prepare_*.sh'))


def run(script, *arguments, folder):
    command = ['sh', str(script), *map(str, arguments)]
    environment = variables([ROOT], PYTHON=sys.executable)
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
