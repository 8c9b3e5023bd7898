"""`python -m deeprftv2_arch.metrics.check` as a user runs it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from processes import python

from deeprftv2_arch.errors import UserError
from deeprftv2_arch.metrics import check


def test_identities_hold_and_a_wrong_folder_is_one_line(tmp_path):
    done = python('-m', 'deeprftv2_arch.metrics.check', folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'ok         48.1308  expected           48.1308  calculate_psnr, +1 of 255 everywhere' in done.stdout
    assert 'WRONG' not in done.stdout
    done = python('-m', 'deeprftv2_arch.metrics.check', '--set5', '.', folder=tmp_path)
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
            cv2.imwrite(str(file), np.dstack([ramp, np.roll(ramp, index, axis=0), ramp]))
    found = list(check.bicubic(tmp_path))
    assert [what.what for what in found][:2] == ['Set5, bicubic x2, PSNR', 'Set5, bicubic x2, SSIM']
    # These are not the images of Set5.
    assert not any(figure.holds for figure in found)
    assert found[0].figure > found[2].figure > found[4].figure > 20
    assert check.main(['--set5', str(tmp_path)]) == 1


def test_missing_image_is_not_overlooked(tmp_path):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(UserError, match='found no 5 full-size images'):
        list(check.bicubic(tmp_path))
