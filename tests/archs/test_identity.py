"""Any test file gives the figures of its blurred images: the command of docs/metrics.md, as a user runs it."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_psnr
from processes import ROOT, python

from deeprftv2_arch.metrics import calculate_ssim_3d

DOCS = (ROOT / 'docs' / 'metrics.md').read_text(encoding='utf-8')


def test_identity_scores_the_blurred_images_of_a_test_file(write_pairs, tmp_path):
    command = re.search(r'^python (basicsr/test\.py) -opt (options/test_gopro\.yml) (--set .*Identity.*)$', DOCS, re.M)
    folders = write_pairs('datasets/GoPro/test', count=3)
    (tmp_path / 'options').mkdir()
    (tmp_path / 'options' / 'test_gopro.yml').write_text((ROOT / command[2]).read_text())
    arguments = ['-opt', command[2], *command[3].split(), 'num_gpu=0']
    done = python('-m', 'deeprftv2_arch.test', *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    (results,) = tmp_path.glob('results/*/results.json')
    (found,) = json.loads(results.read_text())['datasets'].values()
    pairs = [[cv2.imread(str(folder / f'00{index}.png')) for folder in folders] for index in range(3)]
    expected = {
        'psnr': np.mean([calculate_psnr(lq, gt, crop_border=0) for lq, gt in pairs]),
        'ssim_3d': np.mean([calculate_ssim_3d(lq, gt) for lq, gt in pairs]),
    }
    for row in found['figures']:
        assert row['ours'] == pytest.approx(expected[row['metric']], rel=1e-12)
        shown = rf'{row["metric"]} +\| +{row["ours"]:.4f} \| +{row["paper"]} \| DeepRFTv2-B'
        assert re.search(shown, said)
    assert 'Found: 3 images, expected 1,111: not comparable with the paper' in said
