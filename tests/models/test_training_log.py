"""The CSV of logged values: read back by the standard library and by ours, resumed, and cut short by a kill."""

from __future__ import annotations

import csv
import math

from deeprftv2_arch.models.training_log import TrainingLog, read_values


def test_rows_as_any_reader_of_csv_sees_them(tmp_path):
    file = tmp_path / 'new' / 'values.csv'
    log = TrainingLog(file)
    log.add(1, {'l_pix': 0.1, 'lr': 1e-3})
    log.add(2, {'l_pix': 1 / 3})
    with open(file, newline='') as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [
        {'iteration': '1', 'name': 'l_pix', 'value': '0.1'},
        {'iteration': '1', 'name': 'lr', 'value': '0.001'},
        {'iteration': '2', 'name': 'l_pix', 'value': '0.3333333333333333'},
    ]
    assert read_values(file) == {'l_pix': [(1, 0.1), (2, 1 / 3)], 'lr': [(1, 1e-3)]}


def test_resuming_drops_what_will_come_again(tmp_path):
    file = tmp_path / 'values.csv'
    log = TrainingLog(file)
    for iteration in range(1, 8):
        log.add(iteration, {'loss': 1 / iteration})
    resumed = TrainingLog(file, done=4)
    for iteration in range(5, 8):
        resumed.add(iteration, {'loss': 1 / iteration})
    assert read_values(file) == {'loss': [(iteration, 1 / iteration) for iteration in range(1, 8)]}


def test_a_row_cut_short_by_a_kill_is_left_out(tmp_path):
    file = tmp_path / 'values.csv'
    TrainingLog(file).add(1, {'loss': 0.5, 'lr': 0.25})
    file.write_bytes(file.read_bytes()[:-3])
    assert read_values(file) == {'loss': [(1, 0.5)]}
    TrainingLog(file, done=1).add(2, {'loss': math.inf})
    assert read_values(file) == {'loss': [(1, 0.5), (2, math.inf)]}
