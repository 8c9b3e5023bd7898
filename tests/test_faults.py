"""The benchmark of faults with a few kills, as a user runs it."""

from __future__ import annotations

import re

import pytest
from processes import ROOT, python

pytestmark = pytest.mark.slow


def test_killed_trainings_come_back(tmp_path):
    done = python(ROOT / 'benchmarks' / 'faults.py', '--kills', '3', '--seed', '5', folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(
        r'^\| \d+ \| (\w+) \| (\d+) \| (\d+) \| \d+ \| (\d+) \| (\d+) \|$', done.stdout, flags=re.MULTILINE
    )
    assert [row[0] for row in rows] == ['training', 'saving', 'validation']
    for _, reached, saved, unreadable, resumed in rows:
        assert unreadable == '0'
        assert int(reached) >= int(saved) == int(resumed)
    assert '3 kills, 0 failures' in done.stdout
