"""A training that is killed and resumed ends, bit for bit, as one that nothing happened to."""

from __future__ import annotations

import math
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from training_processes import by_basicsr, killed_before, signalled_before, train

from deeprftv2_arch.checkpoints import io as checkpoint
from deeprftv2_arch.models import DeblurModel

LENGTH, SAVED, KILLED = 10, 4, 7
EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 1}


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
    settings = {'num_worker_per_gpu': workers, 'prefetch_mode': prefetch, 'dataset_enlarge_ratio': 3 if workers else 1}
    options['datasets']['train'] |= settings
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    assert train(straight, options, processes=processes) == [0] * processes

    assert train(broken, options, processes=processes, before=killed_before(KILLED)) == [-9] * processes
    assert train(broken, options, '--auto_resume', processes=processes) == [0] * processes
    said = (broken / 'said_0.txt').read_text()
    assert f'iter: {SAVED}.' in said
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


def test_resumed_with_another_number_of_processes(options, tmp_path):
    options['network_g'] = EDSR
    options['train']['optim_g'] = {'type': 'SGD', 'lr': 0.1}
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    assert train(straight, options) == [0]
    assert train(broken, options, before=killed_before(KILLED)) == [-9]
    assert train(broken, options, '--auto_resume', processes=2) == [0, 0]
    assert '2 images a step = 2 process(es) x micro batch of 1 x 1 accumulated' in (broken / 'said_0.txt').read_text()
    expected, found = (results(folder)['net_g_latest.pth'] for folder in (straight, broken))
    for group in ('params', 'params_ema'):
        for key, value in expected[group].items():
            torch.testing.assert_close(found[group][key], value, rtol=1e-5, atol=1e-6)


def test_killed_and_resumed_without_our_launcher(options, tmp_path):
    straight, broken = tmp_path / 'straight', tmp_path / 'broken'
    assert train(straight, options) == [0]
    assert train(broken, options, before=killed_before(KILLED), start=by_basicsr) == [-9]
    assert train(broken, options, '--auto_resume', start=by_basicsr) == [0]
    assert same(results(straight), results(broken))


@pytest.mark.parametrize(('processes', 'number'), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_stopped_and_resumed(options, tmp_path, processes, number):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    assert train(straight, options, processes=processes) == [0] * processes
    # Of two processes one is asked alone; both end after the same iteration.
    ask = signalled_before(KILLED, number, rank=processes - 1)
    assert train(stopped, options, processes=processes, before=ask) == [0] * processes
    said = (stopped / 'said_0.txt').read_text()
    assert said.splitlines()[-1] == f'Stopped after iteration {KILLED}, which is saved. Add --auto_resume to go on.'
    assert 'Traceback' not in said
    assert train(stopped, options, '--auto_resume', processes=processes) == [0] * processes
    assert same(results(straight), results(stopped))


def test_stopped_in_the_middle_of_a_validation(options, tmp_path, monkeypatch):
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    assert train(straight, options) == [0]
    test = DeblurModel.test

    def interrupted(self):
        if self.schedulers[0].last_epoch == 5:  # in the validation after iteration 6
            os.kill(os.getpid(), signal.SIGTERM)
        test(self)

    with monkeypatch.context() as patch:
        patch.setattr(DeblurModel, 'test', interrupted)
        assert train(stopped, options) == [0]
    assert 'Stopped after iteration 6, which is saved.' in (stopped / 'said_0.txt').read_text()
    assert train(stopped, options, '--auto_resume') == [0]
    found = results(straight), results(stopped)
    for result in found:
        result['8.state'].pop('best_metric_results')  # the validation that was given up is not made up for
    assert same(*found)


def test_full_disk(options, tmp_path):
    """The disk takes no more after the first checkpoint: one message, and that checkpoint goes on."""

    def fill_disk(iteration: int) -> None:
        if iteration == SAVED + 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, resource.RLIM_INFINITY))
            checkpoint.PAUSES = ()

    assert train(tmp_path / 'x', options, before=fill_disk) == [2]
    said = (tmp_path / 'x' / 'said_0.txt').read_text()
    experiment = tmp_path / 'x' / 'experiments' / 'run'
    errors = [line for line in said.splitlines() if line.startswith('Error: ')]
    assert len(errors) == 1
    assert errors[0].startswith(f'Error: Cannot write {experiment / "training_states" / "8.state"}: ')
    assert 'Traceback' not in said
    assert not list(experiment.rglob('*.part'))
    assert train(tmp_path / 'x', options, '--auto_resume') == [0]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'network_g': EDSR}, 'network_g.type: EDSR instead of DropoutProbe'),
        ({'train': {'grad_clip': 1}}, 'train.grad_clip: 1 instead of 0.01'),
        ({'train': {'total_iter': 9, 'stages': None, 'accumulate': 1}}, 'train.stages: absent instead of'),
    ],
)
def test_another_training_touches_nothing(options, tmp_path, change, message):
    assert train(tmp_path / 'x', options) == [0]
    experiment = tmp_path / 'x' / 'experiments'
    before = {path: path.read_bytes() for path in experiment.rglob('*') if path.is_file()}
    for section, keys in change.items():
        options[section] = keys if 'type' in keys else {**options[section], **keys}
    options['datasets']['train'] |= {'gt_size': 8} if options['train']['stages'] is None else {}
    assert train(tmp_path / 'x', options, '--auto_resume') == [2]
    said = (tmp_path / 'x' / 'said_0.txt').read_text()
    assert message in said
    assert 'Traceback' not in said
    assert {path: path.read_bytes() for path in experiment.rglob('*') if path.is_file()} == before


def test_data_that_changed_leave_all_but_a_log(options, tmp_path):
    def files() -> dict[Path, bytes]:
        below = (tmp_path / 'x' / 'experiments').rglob('*')
        return {path: path.read_bytes() for path in below if path.is_file() and path.suffix != '.log'}

    assert train(tmp_path / 'x', options) == [0]
    before = files()
    for role in ('lq', 'gt'):
        (Path(options['datasets']['train'][f'dataroot_{role}']) / '004.png').unlink()
    options['logger']['print_freq'] = 5
    assert train(tmp_path / 'x', options, '--auto_resume') == [2]
    said = (tmp_path / 'x' / 'said_0.txt').read_text()
    assert 'Error: datasets.train: the training began with 5 images, and now there are 4.' in said
    assert files() == before
