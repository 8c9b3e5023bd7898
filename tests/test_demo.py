"""The demo as a user runs it, with few iterations, in a copy of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import torch

# One worker runs them all: they share the runs of the demo.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('demo')]

ROOT = Path(__file__).parents[1]
PHOTOGRAPHS = ('chelsea', 'coffee', 'rocket')
ENVIRONMENT = {**os.environ, 'OMP_NUM_THREADS': '1'}


@pytest.fixture(scope='module')
def checkout(tmp_path_factory):
    """What the demo needs of the repository; compiled files come along, so that nothing is compiled twice."""
    folder = tmp_path_factory.mktemp('checkout')
    for part in ('basicsr', 'deeprftv2_arch', 'options', 'scripts'):
        shutil.copytree(ROOT / part, folder / part)
    return folder


def run_demo(checkout):
    command = [sys.executable, 'scripts/demo.py', '--quick']
    return subprocess.run(command, cwd=checkout, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)


@pytest.fixture(scope='module')
def first_run(checkout):
    return run_demo(checkout)


def table_of(text):
    """Photograph to the numbers of its line."""
    lines = re.findall(r'^\| (\w+) +\|(.+)\|$', text, flags=re.MULTILINE)
    return {name: [float(cell) for cell in cells.split('|')] for name, cells in lines if name != 'photograph'}


def resumed_at(checkout):
    """Iterations at which the trainings so far were resumed, by their logs."""
    logs = sorted((checkout / 'experiments' / 'demo_quick').glob('train_*.log'))
    return [
        int(i) for log in logs for i in re.findall(r'Resuming training from epoch: \d+, iter: (\d+)', log.read_text())
    ]


def test_a_run_that_is_interrupted_at_the_start_leaves_nothing_half_made(checkout):
    command = [sys.executable, 'scripts/demo.py', '--quick']
    with subprocess.Popen(command, cwd=checkout, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            if 'Blur photographs' in line:
                demo.send_signal(signal.SIGINT)
                break
        assert 'Start again' in demo.stdout.read()
        assert demo.wait() == 130
    assert not (checkout / 'demo' / 'quick' / 'data').exists()


def test_first_run_resumes_its_own_interruption(checkout, first_run):
    assert first_run.returncode == 0, first_run.stderr
    stopped = int(re.search(r'Interrupted on purpose: stopped and saved after iteration (\d+)', first_run.stdout)[1])
    assert 4 < stopped < 8
    assert resumed_at(checkout) == [stopped]
    iterations = [
        [int(i) for i in re.findall(r'\[epoch: +\d+, iter: +(\d+), lr', log.read_text())]
        for log in sorted((checkout / 'experiments' / 'demo_quick').glob('train_*.log'))
    ]
    assert iterations[0] == list(range(1, stopped + 1))
    assert iterations[1] == list(range(stopped + 1, 9))


def test_table_agrees_with_the_test_of_basicsr(checkout, first_run):
    table = table_of(first_run.stdout)
    assert table == table_of((checkout / 'demo' / 'quick' / 'table.md').read_text())
    assert [*table] == [*PHOTOGRAPHS, 'mean']
    for column in range(5):
        mean = sum(table[name][column] for name in PHOTOGRAPHS) / 3
        assert table['mean'][column] == pytest.approx(mean, abs=0.011)
    for blurred, restored, gain, _, _ in table.values():
        assert gain == pytest.approx(restored - blurred, abs=0.011)
    (log,) = (checkout / 'results' / 'demo_quick').glob('test_*.log')
    psnr, ssim = (float(re.search(rf'# {name}: ([\d.]+)', log.read_text())[1]) for name in ('psnr', 'ssim'))
    assert table['mean'][1] == pytest.approx(psnr, abs=0.006)
    assert table['mean'][4] == pytest.approx(ssim, abs=0.0001)


def test_picture_has_all_panels(checkout, first_run):
    picture = cv2.imread(str(checkout / 'demo' / 'quick' / 'comparison.png'))
    height, width = picture.shape[:2]
    # Three rows of five: every cell shows something.
    for row in range(3):
        for column in range(5):
            cell = picture[row * height // 3 : (row + 1) * height // 3, column * width // 5 : (column + 1) * width // 5]
            assert cell.std() > 10


def test_every_part_of_the_network_is_in_use(checkout, first_run):
    weights = torch.load(checkout / 'experiments' / 'demo_quick' / 'models' / 'net_g_latest.pth')['params']
    for part in ('columns.1.unets.0.fke.', 'columns.1.unets.1.fke.', 'A_log'):
        assert any(part in key for key in weights)


def test_second_run_goes_on_from_what_a_kill_left(checkout, first_run):
    """Torn checkpoints, results without a picture and half-made data: the same table comes out."""
    experiment = checkout / 'experiments' / 'demo_quick'
    for file in ('models/net_g_latest.pth', 'models/net_g_8.pth', 'training_states/8.state'):
        (experiment / file).unlink()
    for torn in (experiment / 'training_states').glob('*.state'):
        if int(torn.stem) > 4:
            torn.write_bytes(torn.read_bytes()[:1000])
    (checkout / 'demo' / 'quick' / 'comparison.png').unlink()
    (checkout / 'demo' / 'quick' / 'data.unfinished').mkdir()
    time.sleep(1)  # BasicSR names its logs by the second
    run = run_demo(checkout)
    assert run.returncode == 0, run.stderr
    assert resumed_at(checkout)[1:] == [4]
    assert table_of(run.stdout) == table_of(first_run.stdout)
    assert (checkout / 'demo' / 'quick' / 'comparison.png').exists()
