"""Our parts beside BasicSR's own: real trainings of a few iterations, started as a user starts them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from processes import python

TINY_DEEPRFTV2 = {
    'type': 'DeepRFTv2',
    'width': 4,
    'num_blocks': [1, 1],
    'block_types': [['naf', 'nafevs'], ['naf', 'naf']],
}
TINY_SWINIR = {
    **{'type': 'SwinIR', 'upscale': 1, 'upsampler': '', 'img_size': 32, 'window_size': 8, 'img_range': 1.0},
    **{'depths': [1, 1], 'num_heads': [2, 2], 'embed_dim': 8, 'mlp_ratio': 2, 'resi_connection': '1conv'},
}


def run(kind: str, options: dict[str, Any], folder: Path) -> str:
    """Run ``python -m deeprftv2_arch.train`` or ``test`` in ``folder``; return all that it said."""
    (folder / f'{kind}.yml').write_text(yaml.safe_dump(options))
    done = python('-m', f'deeprftv2_arch.{kind}', '-opt', f'{kind}.yml', folder=folder, OMP_NUM_THREADS='1')
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def losses(log: str) -> list[dict[str, float]]:
    lines = [line for line in log.splitlines() if ', iter:' in line and 'lr:(' in line]
    return [{name: float(value) for name, value in re.findall(r'(l_\w+): (\S+)', line)} for line in lines]


def test_our_network_trains_and_tests_under_the_stock_model(write_pairs, training_options, tmp_path):
    options = training_options(write_pairs())
    options.update(model_type='SRModel', network_g=TINY_DEEPRFTV2, scale=1)
    for dataset in options['datasets'].values():
        dataset['type'] = 'PairedImageDataset'
    del options['train']['fft_opt']
    options['train'] |= {
        'optim_g': {'type': 'Adam', 'lr': 1.0e-3},
        'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [3], 'eta_min': 1.0e-7},
    }
    log = losses(run('train', options, tmp_path))
    assert [list(terms) for terms in log] == [['l_pix']] * 3
    assert all(np.isfinite(list(terms.values())).all() for terms in log)
    weights = tmp_path / 'experiments' / 'run' / 'models' / 'net_g_latest.pth'

    data = options['datasets'].pop('val')
    options['datasets'] = {'test': data}
    options['path'] = {'pretrain_network_g': str(weights)}
    options['val'] |= {'suffix': None}
    said = run('test', options, tmp_path)
    assert re.search(r'# psnr: \d+\.\d+', said)
    pictures = sorted((tmp_path / 'results' / 'run' / 'visualization' / 'Photos').iterdir())
    assert [path.name for path in pictures] == [f'00{index}_run.png' for index in range(4)]
    assert all(cv2.imread(str(path)).shape == (40, 48, 3) for path in pictures)


@pytest.mark.parametrize('network', ['EDSR', 'SwinIR', 'DeepRFTv2'])
def test_our_loss_data_and_model_train_any_network(write_pairs, training_options, tmp_path, network):
    options = training_options(write_pairs(suffixes=('.jpg', '.png')))
    if network != 'EDSR':
        options['network_g'] = TINY_SWINIR if network == 'SwinIR' else TINY_DEEPRFTV2
    said = run('train', options, tmp_path)
    names = ['l_pix', 'l_fft'] + ['l_pix_half', 'l_fft_half'] * (network == 'DeepRFTv2') + ['l_total']
    log = losses(said)
    assert [list(terms) for terms in log] == [names] * 3
    for terms in log:
        total = terms.pop('l_total')
        assert total == pytest.approx(sum(terms.values()), rel=1e-3)
    assert re.search(r'Validation Photos\s+# psnr: \d+\.\d+', said)
    folder = tmp_path / 'experiments' / 'run'
    first, last = (
        torch.load(folder / 'models' / f'net_g_{label}.pth', weights_only=True)['params'] for label in ('2', 'latest')
    )
    assert any(not torch.equal(first[key], last[key]) for key in first)
    assert (folder / 'training_states' / '2.state').is_file()
    assert cv2.imread(str(folder / 'visualization' / '000' / '000_3.png')).shape == (40, 48, 3)
    assert not list(tmp_path.rglob('*.part'))
