"""Checkpoint files that are not what they should be, and how their keys are compared."""

from __future__ import annotations

import pickle

import pytest
import torch

from deeprftv2_arch.checkpoint import mismatch, read_checkpoint, save_checkpoint
from deeprftv2_arch.errors import UserError


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


def test_no_code_of_a_file_is_run(tmp_path):
    torch.save({'params': {}, 'surprise': Surprise()}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=r'net\.pth holds Python objects'):
        read_checkpoint(tmp_path / 'net.pth')
    (tmp_path / 'net.pth').write_bytes(pickle.dumps(Surprise()))
    with pytest.raises(UserError, match=r'net\.pth'):
        read_checkpoint(tmp_path / 'net.pth')
    assert not Surprise.ran


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
