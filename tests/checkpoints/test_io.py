"""Checkpoint files that are not what they should be, and how their keys are compared."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from deeprftv2_arch.checkpoints.io import mismatch, pick_weights, read_checkpoint, save_checkpoint
from deeprftv2_arch.utils.errors import UserError


def test_there_and_back(tmp_path):
    save_checkpoint({'params': {'w': torch.arange(3.0)}, 'iter': 4}, tmp_path / 'net.pth')
    content = read_checkpoint(tmp_path / 'net.pth')
    assert content['iter'] == 4
    assert torch.equal(content['params']['w'], torch.arange(3.0))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r'no checkpoint .*gone\.pth'):
        read_checkpoint(tmp_path / 'gone.pth')


@pytest.mark.parametrize('content', [b'', b'<html>quota exceeded</html>', b'half of a checkpoint', b'PK\x03\x04 torn'])
def test_a_file_that_is_no_checkpoint(tmp_path, content):
    (tmp_path / 'net.pth').write_bytes(content)
    with pytest.raises(UserError, match=r'net\.pth is not a checkpoint'):
        read_checkpoint(tmp_path / 'net.pth')


@pytest.mark.parametrize('share', [0.1, 0.5, 0.9, 0.99])
def test_a_file_that_was_cut_off(tmp_path, share):
    path = tmp_path / 'net.pth'
    torch.save({'params': {str(i): torch.randn(50) for i in range(20)}}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r'net\.pth is not a checkpoint, or was not'):
        read_checkpoint(path)


class Surprise:
    """An object whose loading runs code."""

    ran = False

    def __reduce__(self):
        return (setattr, (Surprise, 'ran', True))


class Hostile:
    """An object whose loading starts a program."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


@pytest.mark.parametrize('as_zip', [True, False])
def test_a_hostile_file_is_refused_with_the_reason(tmp_path, as_zip):
    path, trace = tmp_path / 'net.pth', tmp_path / 'trace'
    torch.save({'params': Hostile(f'touch {trace}')}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(UserError, match=r'net\.pth holds Python objects beside tensors \((posix|nt)\.system\)'):
        read_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file means what it threatens
    assert trace.exists()


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_bare_pickle_is_refused_with_the_reason(tmp_path, protocol):
    path, trace = tmp_path / 'net.pth', tmp_path / 'trace'
    path.write_bytes(pickle.dumps({'params': Hostile(f'touch {trace}')}, protocol))
    with pytest.raises(UserError, match=r'net\.pth holds Python objects beside tensors \((posix|nt)\.system\)'):
        read_checkpoint(path)
    assert not trace.exists()


def test_no_code_of_a_file_is_run(tmp_path):
    torch.save({'params': {}, 'surprise': Surprise()}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=r'net\.pth holds Python objects'):
        read_checkpoint(tmp_path / 'net.pth')
    (tmp_path / 'net.pth').write_bytes(pickle.dumps(Surprise()))
    with pytest.raises(UserError, match=r'net\.pth'):
        read_checkpoint(tmp_path / 'net.pth')
    assert not Surprise.ran


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / 'net.pth'
    torch.save({'params': {'w': torch.arange(1000.0)}}, path)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r'net\.pth is damaged: the checksum of its part .*data/0 does not match'):
        read_checkpoint(path)


def test_a_file_without_keys(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / 'net.pth')
    with pytest.raises(UserError, match='holds a list, not a checkpoint'):
        read_checkpoint(tmp_path / 'net.pth')


def test_mismatch():
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).state_dict()
    assert mismatch(net, dict(net)) == ''
    other = {key: value for key, value in net.items() if not key.startswith('1.running')}
    other |= {'0.weight': torch.zeros(3, 5), '1.num_batches_tracked': torch.zeros(2), 'x': torch.zeros(1)}
    assert mismatch(net, other) == (
        '2 missing: 1.running_mean, 1.running_var; 1 unexpected: x; '
        '2 wrongly shaped: 0.weight (3x5 instead of 3x2), 1.num_batches_tracked (2 instead of a number)'
    )
    many = {str(i): torch.zeros(1) for i in range(100)}
    assert mismatch(many, {}) == '100 missing: 0, 1, 2, ...'


@contextmanager
def full_disk(limit: int):
    """No file may grow beyond this many bytes: writing on fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
def test_a_full_disk_leaves_the_older_file(tmp_path, monkeypatch, name):
    pauses = []
    monkeypatch.setattr(time, 'sleep', pauses.append)
    path = tmp_path / name
    save_checkpoint({'params': {'w': torch.zeros(100)}}, path)
    with full_disk(20_000), pytest.raises(UserError) as error:
        save_checkpoint({'params': {'w': torch.ones(100_000)}}, path)
    assert str(error.value).startswith(f'Cannot write {path}: ')
    assert str(error.value).endswith('Make room, or correct the folder or its rights.')
    assert pauses == [1, 5, 25]
    assert torch.equal(read_checkpoint(path)['params']['w'], torch.zeros(100))
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, 'fsync', lambda handle: (calls.append(os.readlink(f'/proc/self/fd/{handle}')), sync(handle))
    )
    monkeypatch.setattr(os, 'replace', lambda *names: (calls.append('replace'), replace(*names)))
    save_checkpoint({'iter': 1}, tmp_path / 'x.state')
    assert calls == [str(tmp_path / 'x.state.part'), 'replace', str(tmp_path)]


GROUPS = {
    name: {'a.w': torch.arange(6.0).reshape(2, 3).T, 'n': torch.tensor(value)}
    for name, value in (('params', 1), ('params_ema', 2))
}


class TestSafetensors:
    @pytest.mark.parametrize('groups', [('params',), ('params', 'params_ema')])
    def test_there_and_back(self, tmp_path, groups):
        path = tmp_path / 'net.safetensors'
        save_checkpoint({name: GROUPS[name] for name in groups}, path)
        content = read_checkpoint(path)
        assert tuple(content) == groups
        for name in groups:
            assert content[name].keys() == {'a.w', 'n'}
            assert all(torch.equal(value, GROUPS[name][key]) for key, value in content[name].items())

    def test_weights_alone_have_the_keys_that_others_expect(self, tmp_path):
        path = tmp_path / 'net.safetensors'
        save_checkpoint({'params': GROUPS['params']}, path)
        assert load_file(path).keys() == {'a.w', 'n'}
        for key in ('params', None):
            assert pick_weights(read_checkpoint(path), path, key).keys() == {'a.w', 'n'}

    def test_what_it_cannot_hold(self, tmp_path):
        with pytest.raises(UserError, match=r'x\.safetensors: a safetensors file takes groups of tensors alone'):
            save_checkpoint({'iter': 1}, tmp_path / 'x.safetensors')

    def test_a_torn_file(self, tmp_path):
        path = tmp_path / 'net.safetensors'
        save_checkpoint({'params': GROUPS['params']}, path)
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(UserError, match=r'net\.safetensors is not a safetensors file'):
            read_checkpoint(path)

    def test_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
        (tmp_path / 'net.safetensors').touch()
        for use in (read_checkpoint, lambda path: save_checkpoint({}, path)):
            with pytest.raises(UserError, match=r'the package safetensors is not installed\. Try: pip install'):
                use(tmp_path / 'net.safetensors')


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite(value):
    content = {'params': {'module.w': torch.tensor([1.0, value]), 'n': torch.tensor(3)}}
    with pytest.raises(UserError, match=r'net\.pth holds NaN or infinite weights: w\. Take an earlier'):
        pick_weights(content, 'net.pth', 'params')
