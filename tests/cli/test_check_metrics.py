"""`deeprftv2 metrics` as a user runs it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from processes import python

from deeprftv2_arch.cli import check_metrics as check
from deeprftv2_arch.utils.errors import UserError


def test_identities_hold(capsys):
    assert check.main([]) == 0
    shown = capsys.readouterr().out
    assert 'ok         48.1308  expected           48.1308  calculate_psnr, +1 of 255 everywhere' in shown
    assert 'WRONG' not in shown


def test_wrong_folder_is_one_line(tmp_path):
    done = python('-m', 'deeprftv2_arch', 'metrics', '--set5', '.', folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith('Error: --set5 .: found no 5 full-size images.')
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('layout', ['HR/{}.png', 'image_SRF_{scale}/img_{}_SRF_HR.png', '{}.bmp'])
def test_images_are_found_in_the_layouts_that_are_handed_around(tmp_path, layout):
    sides = np.linspace(0, 255, 39)
    for scale in (2, 3, 4):
        for index in range(5):
            file = tmp_path / layout.format(index, scale=scale)
            file.parent.mkdir(exist_ok=True)
            ramp = np.add.outer(sides * 0.4, sides[:37] * 0.6).round().astype(np.uint8)
            cv2.imwrite(str(file), np.dstack([ramp, ramp // (index + 1), ramp]))
    found = next(check.bicubic(tmp_path))
    assert found.what == 'Set5, bicubic x2, PSNR'
    assert 40 < found.value < 60
    # These are not the images of Set5.
    assert not found.holds


def test_wrong_value_is_shown_and_ends_with_1(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check, 'identities', lambda: [check.Check('a', 1.04, 1, 1), check.Check('b', 1.06, 1, 1)])
    assert check.main([]) == 1
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ['ok', 'WRONG']


def test_missing_image_is_not_overlooked(tmp_path):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UserError, match='found no 5 full-size images'):
        list(check.bicubic(tmp_path))
