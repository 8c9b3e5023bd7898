"""Which checkpoint a training goes on from, and what it is refused for."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from deeprftv2_arch.checkpoints.resume import check_data, check_length, load_state, newest_state, training_fingerprint
from deeprftv2_arch.utils.errors import UserError


@pytest.fixture
def options(tmp_path) -> dict[str, Any]:
    for name in ('models', 'training_states'):
        (tmp_path / name).mkdir()
    return {
        'model_type': 'DeblurModel',
        'rank': 0,
        'world_size': 1,
        'num_gpu': 0,
        'dist': False,
        'datasets': {'train': {'type': 'PairedDeblurDataset', 'gt_size': 32, 'batch_size_per_gpu': 2}, 'val': {}},
        'network_g': {'type': 'DeepRFTv2', 'width': 8, 'num_blocks': [1, 2]},
        'train': {'total_iter': 100, 'optim_g': {'type': 'AdamW', 'lr': 1e-3}},
        'logger': {'print_freq': 1},
        'path': {name: str(tmp_path / name) for name in ('models', 'training_states')},
    }


@pytest.fixture
def save(options, tmp_path) -> Callable[..., Path]:
    """Write a checkpoint of the training of these options."""

    def write(iteration: int, **changes: Any) -> Path:
        torch.save({'params': {'w': torch.zeros(50)}}, tmp_path / 'models' / f'net_g_{iteration}.pth')
        state = {
            'epoch': 0,
            'iter': iteration,
            'optimizers': [],
            'schedulers': [],
            'options': training_fingerprint(options),
        }
        path = tmp_path / 'training_states' / f'{iteration}.state'
        torch.save({**state, **changes}, path)
        return path

    return write


def change(options: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    changed = deepcopy(options)
    *parts, last = key.split('.')
    section = changed
    for part in parts:
        section = section.setdefault(part, {})
    section[last] = value
    return changed


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def test_the_newest_is_taken(options, save):
    assert newest_state(options) is None
    save(5)
    path = save(10)
    save(7)
    assert newest_state(options)[0] == path


@pytest.mark.parametrize('share', [0, 0.3, 0.95])
@pytest.mark.parametrize('part', ['training_states/20.state', 'models/net_g_20.pth'])
def test_a_torn_one_is_skipped_with_a_warning(options, save, tmp_path, capsys, share, part):
    good = save(10)
    save(20)
    cut(tmp_path / part, share)
    assert newest_state(options)[0] == good
    warning = capsys.readouterr().err
    assert warning.startswith(f'Warning: a newer checkpoint than 10.state is skipped. {tmp_path / part} is not a check')
    assert warning.count('\n') == 1


def test_one_without_weights_is_skipped(options, save, tmp_path, capsys):
    good = save(10)
    save(20)
    (tmp_path / 'models' / 'net_g_20.pth').unlink()
    assert newest_state(options)[0] == good
    assert 'There is no checkpoint' in capsys.readouterr().err


def test_one_of_another_run_is_skipped(options, save, capsys):
    good = save(10)
    other = training_fingerprint(change(options, 'network_g.width', 48))
    save(20, options=other)
    assert newest_state(options)[0] == good
    assert 'network_g.width: 8 instead of 48' in capsys.readouterr().err


def test_a_renamed_one_is_skipped(options, save, tmp_path, capsys):
    good = save(10)
    save(20, iter=19)
    assert newest_state(options)[0] == good
    assert '20.state is the state after iteration 19' in capsys.readouterr().err


def test_none_that_is_good(options, save):
    for iteration in (10, 20, 30):
        cut(save(iteration), 0.5)
    with pytest.raises(UserError, match=r'30\.state is not a checkpoint.*The other 2 cannot be used either'):
        newest_state(options)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('train.optim_g.lr', 5e-4, r'train\.optim_g\.lr: 0\.0005 instead of 0\.001'),
        ('train.grad_clip', 1.0, r'train\.grad_clip: 1\.0 instead of 0\.01'),
        ('network_g.type', 'NAFNet', r'network_g\.type: NAFNet instead of DeepRFTv2'),
        ('network_g.num_blocks', [1, 3], r'network_g\.num_blocks: \[1, 3\] instead of \[1, 2\]'),
        ('datasets.train.gt_size', 64, r'datasets\.train\.gt_size: 64 instead of 32'),
        ('datasets.train.batch_size_per_gpu', 4, r'total batch \(processes x .*\): 4 instead of 2'),
        ('world_size', 2, r'total batch \(processes x .*\): 4 instead of 2'),
        ('train.total_iter', 200, r'train\.total_iter \(which train\.scheduler\.T_max follows\): 200 instead of 100'),
    ],
)
def test_changed_options_are_named(options, save, key, value, message):
    path = save(10)
    with pytest.raises(UserError, match=rf'10\.state was made with other options: {message}\. Change them back'):
        load_state(path, change(options, key, value))
    with pytest.raises(UserError, match=message):
        newest_state(change(options, key, value))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('datasets.train.num_worker_per_gpu', 8),
        ('datasets.train.dataroot_lq', 'elsewhere'),
        ('datasets.val.dataroot_lq', 'elsewhere'),
        ('datasets.train.prefetch_mode', 'cpu'),
        ('logger.print_freq', 100),
        ('train.max_bad_steps', 3),
        ('train.optim_g.weight_decay', None),
        ('network_g.tile', 512),
        ('num_gpu', 1),
    ],
)
def test_harmless_changes_pass(options, save, key, value):
    assert load_state(save(10), change(options, key, value))['iter'] == 10


def test_accumulation_may_take_the_place_of_processes(options, save):
    path = save(10)
    changed = change(change(options, 'datasets.train.batch_size_per_gpu', 1), 'train.accumulate', 2)
    assert load_state(path, changed)['iter'] == 10
    assert load_state(path, change({**changed, 'world_size': 2}, 'train.accumulate', 1))['iter'] == 10


def test_a_longer_training_on_a_curve_that_stays(options, save):
    options['train']['scheduler'] = {'type': 'CosineAnnealingLR', 'T_max': 300}
    assert load_state(save(10), change(options, 'train.total_iter', 200))['iter'] == 10


def test_states_of_the_basicsr_are_taken(options, save):
    path = save(10)
    state = torch.load(path)
    state.pop('options')
    torch.save(state, path)
    assert newest_state(options)[0] == path


def test_a_state_of_another_experiment(options, save, tmp_path):
    path = save(10)
    options['path']['training_states'] = str(tmp_path / 'other' / 'training_states')
    with pytest.raises(UserError, match=r'10\.state is of another experiment; those of this one are in .*other'):
        load_state(path, options)


def test_what_is_no_state(options, save, tmp_path):
    save(10)
    with pytest.raises(UserError, match=r'net_g_10\.pth is not the state of a training: it lacks epoch, iter, optim'):
        load_state(tmp_path / 'models' / 'net_g_10.pth', options)


def test_a_training_that_is_over(options):
    check_length({'iter': 100}, options)
    with pytest.raises(UserError, match=r'train\.total_iter: 100 is less than the 101 iterations'):
        check_length({'iter': 101}, options)


def test_data_that_changed():
    check_data(None, {'images': 3, 'names': 'a'})
    check_data({'images': 3, 'names': 'a'}, {'images': 3, 'names': 'a'})
    with pytest.raises(UserError, match='began with 2 images, and now there are 3'):
        check_data({'images': 2, 'names': 'a'}, {'images': 3, 'names': 'b'})
    with pytest.raises(UserError, match='now there are 3 of other names'):
        check_data({'images': 3, 'names': 'a'}, {'images': 3, 'names': 'b'})
