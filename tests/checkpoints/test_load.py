"""Checkpoints that fit, and every way in which one may not."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.checkpoints.load import load_weights
from deeprftv2_arch.cli.convert import to_published
from deeprftv2_arch.utils.errors import UserError

TINY = {'width': 4, 'num_blocks': [1, 1], 'block_types': [['naf', 'nafevs'], ['naf', 'naf']]}


def network(channels: int = 4) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 3, 3))


def same(one: nn.Module, other: nn.Module) -> bool:
    weights = other.state_dict()
    return all(torch.equal(value, weights[key]) for key, value in one.state_dict().items())


def test_weights_come_back(tmp_path):
    source, path = network(), str(tmp_path / 'net.pth')
    torch.save({'params': {f'module.{key}': value for key, value in source.state_dict().items()}}, path)
    target = network()
    assert not same(source, target)
    load_weights(target, path)
    assert same(source, target)


@pytest.mark.parametrize('param_key', ['params', None])
def test_safetensors_of_others_are_read(tmp_path, param_key):
    source, target, path = network(), network(), str(tmp_path / 'net.safetensors')
    save_file(source.state_dict(), path)
    load_weights(target, path, param_key)
    assert same(source, target)


def test_weights_that_are_not_finite_are_named_and_change_nothing(tmp_path):
    weights = network().state_dict()
    weights['1.bias'][2] = float('nan')
    path, target = str(tmp_path / 'net.pth'), network()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    torch.save({'params': weights}, path)
    with pytest.raises(UserError, match=r'net\.pth holds NaN or infinite weights: 1\.bias'):
        load_weights(target, path)
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_bare_state_dict_is_read_without_key(tmp_path):
    source, target, path = network(), network(), str(tmp_path / 'net.pth')
    torch.save(source.state_dict(), path)
    with pytest.raises(UserError, match=r"no weights under the key 'params'; it has '0\.weight'.*param_key_g"):
        load_weights(target, path)
    load_weights(target, path, None)
    assert same(source, target)


def test_published_key_names_are_translated(tmp_path):
    source, target, path = DeepRFTv2(**TINY), DeepRFTv2(**TINY), str(tmp_path / 'published.pth')
    torch.save({'params': to_published(source.state_dict())}, path)
    load_weights(target, path)
    assert same(source, target)


def test_other_key_is_named(tmp_path):
    path = str(tmp_path / 'net.pth')
    torch.save({'state_dict': network().state_dict()}, path)
    with pytest.raises(UserError, match=r"net\.pth has no weights under the key 'params_ema'; it has 'state_dict'"):
        load_weights(network(), path, 'params_ema')


def test_mismatch_lists_each_kind_of_key_and_changes_nothing(tmp_path):
    weights = network().state_dict()
    weights['2.weight'] = weights.pop('0.weight')
    weights['1.weight'] = torch.zeros(3, 5, 3, 3)
    path, target = str(tmp_path / 'net.pth'), network()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    torch.save({'params': weights}, path)
    with pytest.raises(UserError) as caught:
        load_weights(target, path)
    message = str(caught.value)
    assert message.startswith(f'{path} does not fit this Sequential: ')
    for part in (
        '1 missing: 0.weight',
        '1 unexpected: 2.weight',
        '1 wrongly shaped: 1.weight (3x5x3x3 instead of 3x4x3x3)',
    ):
        assert part in message
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_long_lists_are_shortened(tmp_path):
    path = str(tmp_path / 'net.pth')
    torch.save({'params': {f'block.{index}.weight': torch.zeros(1) for index in range(500)}}, path)
    with pytest.raises(UserError, match='500 unexpected: ') as caught:
        load_weights(network(), path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize('kept', [0, 10, 0.5, 0.99])
def test_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / 'net.pth'
    torch.save({'params': network().state_dict()}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
    with pytest.raises(UserError, match=str(path)):
        load_weights(network(), str(path))


def test_what_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match=r'absent\.pth'):
        load_weights(network(), str(tmp_path / 'absent.pth'))
    path = tmp_path / 'net.pth'
    path.write_text('<html>404 Not Found</html>')
    with pytest.raises(UserError, match=r'net\.pth'):
        load_weights(network(), str(path))
    torch.save([1, 2, 3], path)
    with pytest.raises(UserError, match=r'net\.pth'):
        load_weights(network(), str(path))


def test_named_parts_start_anew_and_the_rest_must_fit(tmp_path):
    path = str(tmp_path / 'net.pth')
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 12, 3))
    torch.save({'params': source.state_dict()}, path)
    target = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 27, 3))
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(UserError, match=r'wrongly shaped: 1\.'):
        load_weights(target, path)
    assert load_weights(target, path, anew=['1']) == ['1.weight', '1.bias']
    for key, value in target.state_dict().items():
        assert torch.equal(value, before[key] if key.startswith('1.') else source.state_dict()[key])
    with pytest.raises(UserError, match=r"no part 'upsampler'\. Its parts: 0, 1\."):
        load_weights(target, path, anew=['upsampler'])
    other = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 12, 3))
    with pytest.raises(UserError, match=r'wrongly shaped: 0\.'):
        load_weights(other, path, anew=['1'])
