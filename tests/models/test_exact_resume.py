"""A training that is killed and resumed ends, bit for bit, as one that nothing happened to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from training_processes import killed_before, train

LENGTH, SAVED, KILLED = 10, 4, 7


@ARCH_REGISTRY.register()
class DropoutProbe(nn.Module):
    """Draws from all three generators of a process in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(8, 3, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) * float(np.random.random()) if self.training else x + self.body(x)


@pytest.fixture
def options(write_pairs, training_options) -> dict[str, Any]:
    """Two stages with different crops, batches and accumulation; the checkpoint lies in the second one."""
    options = training_options(write_pairs(count=5))
    options['network_g'] = {'type': 'DropoutProbe'}
    options['datasets']['train'].pop('gt_size')
    options['datasets']['train'] |= {'batch_size_per_gpu': 1, 'persistent_workers': False}
    options['train'] |= {
        'total_iter': LENGTH,
        'ema_decay': 0.9,
        'stages': [
            {'gt_size': 8, 'total_batch': 4, 'iterations': 3},
            {'gt_size': 16, 'total_batch': 2, 'iterations': 7},
        ],
    }
    options['val'] |= {'val_freq': 2, 'save_img': False}
    options['logger'] |= {'save_checkpoint_freq': SAVED}
    return options


def results(folder: Path) -> dict[str, Any]:
    experiment = folder / 'experiments' / 'run'
    files = (experiment / 'models' / 'net_g_latest.pth', experiment / 'training_states' / '8.state')
    return {file.name: torch.load(file, weights_only=True) for file in files}


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize(
    ('processes', 'workers', 'prefetch'), [(1, 0, None), (1, 2, None), (1, 0, 'cpu'), (2, 0, None), (2, 2, None)]
)
def test_killed_and_resumed(options, tmp_path, processes, workers, prefetch):
    options['datasets']['train'] |= {'num_worker_per_gpu': workers, 'prefetch_mode': prefetch}
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    assert train(straight, options, processes=processes) == [0] * processes

    assert train(broken, options, processes=processes, before=killed_before(KILLED)) == [-9] * processes
    assert train(broken, options, '--auto_resume', processes=processes) == [0] * processes
    said = (broken / 'said_0.txt').read_text()
    assert f'iter: {SAVED}.' in said
    assert 'Stage' not in said
    assert same(results(straight), results(broken))


def test_workers_and_prefetching_change_nothing(options, tmp_path):
    expected = None
    for number, settings in enumerate(
        [{'num_worker_per_gpu': 0}, {'num_worker_per_gpu': 2, 'persistent_workers': True, 'dataset_enlarge_ratio': 3}]
    ):
        options['datasets']['train'] |= settings
        assert train(tmp_path / str(number), options) == [0]
        found = results(tmp_path / str(number))
        for state in (found['8.state'],):
            state.pop('epoch')
        expected = expected or found
        assert same(expected, found)
