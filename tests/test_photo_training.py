"""From a folder of photographs to trained weights, with the option file and the commands of docs/photographs.md."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from launched import SHORT, assignments, copy_project, run
from processes import ROOT

from deeprftv2_arch.cli import prepare
from deeprftv2_arch.config.blur_synthesis import settings_table

OPTIONS = ROOT / 'options' / 'train_photos.yml'
PAGE = ROOT / 'docs' / 'photographs.md'
MEGABYTE = 1e6


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The launchers, and a prepared set of four photographs."""
    source = tmp_path / 'photographs'
    source.mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        layers = [
            cv2.resize(rng.normal(0, 14, (-(-360 // side), -(-400 // side), 3)), (400, 360))
            for side in (1, 2, 4, 8, 16, 100)
        ]
        cv2.imwrite(str(source / f'{"abcd"[number]}.png'), np.clip(128 + sum(layers), 0, 255).astype(np.uint8))
    project = copy_project(tmp_path)
    out = project / 'datasets' / 'photos'
    prepare.main(['photos', '--source', str(source), '--out', str(out), '--workers', '1'])
    return project


def test_from_photographs_to_weights_and_on_after_a_stop(project):
    options = yaml.safe_load(OPTIONS.read_text())
    values = {
        **SHORT,
        'num_gpu': 0,
        'network_g.width': 4,
        'datasets.train.gt_size': 32,
        'train.total_iter': 4,
        'val.val_freq': 4,
        'logger.save_checkpoint_freq': 2,
    }
    arguments = ('-opt', 'options/train_photos.yml', '--set', *assignments(values))
    said = run(project, 'train', *arguments)
    assert re.search(r'iter: +4, .*l_total: \d', said), said
    assert re.search(r'psnr: \d\d\.\d+', said), said
    experiment = project / 'experiments' / options['name']
    weights = torch.load(experiment / 'models' / 'net_g_latest.pth')['params_ema']
    run(project, 'train', *arguments, f'path.resume_state={experiment}/training_states/2.state')
    resumed = torch.load(experiment / 'models' / 'net_g_latest.pth')['params_ema']
    assert all(torch.equal(resumed[key], value) for key, value in weights.items())


def test_the_weights_fit_into_eight_megabytes_at_half_precision():
    options = yaml.safe_load(OPTIONS.read_text())['network_g']
    parameters = sum(weight.numel() for weight in build_network(options).parameters())
    assert parameters * 2 <= 8 * MEGABYTE
    assert options['fke']
    assert len(options['block_types']) == 2


def test_the_page_has_the_settings():
    assert settings_table() in PAGE.read_text(encoding='utf-8'), 'Make it anew: config.blur_synthesis.settings_table()'
