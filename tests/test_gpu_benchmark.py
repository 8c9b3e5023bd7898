"""The benchmark of GPUs goes its whole way on the CPU in small, and says so where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from processes import ROOT, python

SCRIPT = ROOT / 'benchmarks' / 'gpu.py'


@pytest.mark.slow
def test_the_whole_way_in_small(tmp_path: Path) -> None:
    done = python(SCRIPT, '--device', 'cpu', '--tiny', folder=tmp_path, OMP_NUM_THREADS='1')
    assert done.returncode == 0, done.stdout + done.stderr
    words = [line.split() for line in done.stdout.splitlines()]
    parity = {(line[0], line[1]): line[-1] for line in words if line and line[-1] in ('ok', 'MET')}
    assert set(parity.values()) == {'ok'}
    assert {name for name, _ in parity} == {'numba', 'wide', 'reference', 'DeepRFTv2-S'}
    assert ('wide', 'float64') in parity
    scans = [
        line[0] for line in words if line and line[-1] in ('y', 'du', 'ddelta', 'dA', 'dB', 'dC', 'dD', 'ddelta_bias')
    ]
    assert scans == ['numba', 'wide']
    rows = {tuple(line[:3]) for line in words if len(line) == 7 and line[0] in ('B', 'S')}
    assert rows == {
        (net, size, kind) for net in 'BS' for size in ('16', '32') for kind in ('float32', 'TF32', 'bfloat16')
    }


def test_without_a_gpu_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = python(SCRIPT, folder=tmp_path, CUDA_VISIBLE_DEVICES='')
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == 'benchmarks/gpu.py: torch finds no GPU here. To try the benchmark: --device cpu --tiny\n'
