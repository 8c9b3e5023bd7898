"""Weights of every origin, and what is said about those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deeprftv2_arch.checkpoints import to_published
from deeprftv2_arch.checkpoints.network_file import load_network_file, save_network_file
from deeprftv2_arch.restoration import network
from deeprftv2_arch.restoration.network import load_network
from deeprftv2_arch.utils.errors import UserError

DEBLUR = {'width': 8, 'num_blocks': [1, 1], 'block_types': [['naf', 'nafevs'], ['naf', 'naf']], 'num_columns': 1}
SR = {'upscale': 2, 'width': 8, 'depths': [1], 'heads': 2, 'window': 4, 'group': 128, 'tokens': 5, 'code_channels': 3}
EDSR = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2}


def weights_of(kind: str, options: dict) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return ARCH_REGISTRY.get(kind)(**options).state_dict()


def same(loaded: network.RestorationNetwork, weights: dict[str, torch.Tensor], atol: float = 0) -> None:
    state = loaded.net.state_dict()
    assert state.keys() == weights.keys()
    for key, value in weights.items():
        torch.testing.assert_close(state[key], value, atol=atol, rtol=atol)


@pytest.mark.parametrize('half', [True, False])
def test_options_travel_with_the_weights(tmp_path, half):
    options = {**DEBLUR, 'train_size': 64, 'fke_window': 64, 'tile': 'auto'}
    weights = weights_of('DeepRFTv2', options)
    path = save_network_file(tmp_path / 'net.safetensors', 'DeepRFTv2', options, weights, half=half)
    loaded = load_network(path)
    assert (loaded.name, loaded.scale, loaded.channels, loaded.net.training) == ('DeepRFTv2', 1, 3, False)
    assert loaded.net.train_size == 64
    assert {value.dtype for value in loaded.net.state_dict().values()} == {torch.float32}
    same(loaded, weights, 1e-3 if half else 0)
    assert {value.dtype for value in load_file(path).values()} == {torch.float16 if half else torch.float32}


def test_numbers_that_half_precision_cannot_hold_are_stored_whole(tmp_path):
    weights = {'a': torch.tensor([1e6]), 'b': torch.tensor([3]), 'c': torch.tensor([0.5])}
    save_network_file(tmp_path / 'net.safetensors', 'X', {}, weights)
    found = load_network_file(tmp_path / 'net.safetensors')
    assert (found.type, found.options) == ('X', {})
    assert torch.equal(found.weights['a'], weights['a'])
    assert found.weights['b'].dtype == torch.int64
    assert load_file(tmp_path / 'net.safetensors')['c'].dtype == torch.float16


def test_network_files_are_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(UserError, match=r'net\.pth: a network is written as a safetensors file'):
        save_network_file(tmp_path / 'net.pth', 'X', {}, {})
    with pytest.raises(UserError, match=r'network_g: Object of type \w*Path is not JSON'):
        save_network_file(tmp_path / 'net.safetensors', 'X', {'file': Path('x')}, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('key', ['params', 'params_ema', 'state_dict', None])
@pytest.mark.parametrize('published', [True, False])
@pytest.mark.parametrize(('kind', 'options', 'scale'), [('DeepRFTv2', DEBLUR, 1), ('ATDFKE', SR, 2)])
def test_options_are_read_off_the_weights(tmp_path, key, published, kind, options, scale):
    weights = weights_of(kind, options)
    content = to_published(weights) if published else {f'module.{name}': value for name, value in weights.items()}
    torch.save(content if key is None else {key: content}, tmp_path / 'net.pth')
    loaded = load_network(tmp_path / 'net.pth')
    assert (loaded.name, loaded.scale) == (kind, scale)
    same(loaded, weights)


def test_averaged_weights_are_preferred(tmp_path):
    weights = weights_of('DeepRFTv2', DEBLUR)
    torch.save({'params': {k: v + 1 for k, v in weights.items()}, 'params_ema': weights}, tmp_path / 'net.pth')
    same(load_network(tmp_path / 'net.pth'), weights)


def experiment(folder: Path, options: object, weights: dict) -> Path:
    (folder / 'models').mkdir(parents=True)
    (folder / 'resolved_options.yml').write_text(yaml.safe_dump(options))
    torch.save({'params': weights}, folder / 'models' / 'net_g_latest.pth')
    return folder / 'models' / 'net_g_latest.pth'


def test_options_lie_in_the_folder_of_the_training(tmp_path):
    weights = weights_of('EDSR', EDSR)
    path = experiment(tmp_path, {'network_g': {'type': 'EDSR', **EDSR}}, weights)
    loaded = load_network(path)
    assert (loaded.name, loaded.scale) == ('EDSR', 2)
    same(loaded, weights)


def test_networks_that_want_multiples_of_a_window(tmp_path):
    options = {'upscale': 1, 'embed_dim': 8, 'depths': [1], 'num_heads': [2], 'window_size': 7, 'img_size': 14}
    weights = weights_of('SwinIR', options)
    loaded = load_network(experiment(tmp_path, {'network_g': {'type': 'SwinIR', **options}}, weights))
    assert loaded.multiple == 7
    assert loaded(torch.rand(1, 3, 9, 16)).shape == (1, 3, 9, 16)


def complaint(path: Path | None) -> str:
    with pytest.raises(UserError) as error:
        load_network(path)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_weights_of_another_network(tmp_path):
    path = experiment(
        tmp_path, {'network_g': {'type': 'DeepRFTv2', **DEBLUR, 'width': 4}}, weights_of('DeepRFTv2', DEBLUR)
    )
    assert 'does not fit the DeepRFTv2 of its options' in complaint(path)
    assert 'net_g_latest.pth' in complaint(path)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'network_g': {'type': 'Nothing'}}, "network 'Nothing', which is not registered"),
        ({'network_g': {'type': 'DeepRFTv2', 'size': 3}}, "unexpected keyword argument 'size'"),
        ({'network_g': {'type': 'DeepRFTv2', 'num_blocks': [1]}}, 'num_blocks needs at least two levels'),
        ({}, 'has no network_g'),
        ('not options', 'has no network_g'),
    ],
)
def test_options_that_cannot_be(tmp_path, options, words):
    assert words in complaint(experiment(tmp_path, options, weights_of('DeepRFTv2', DEBLUR)))


def test_options_that_are_missing(tmp_path, monkeypatch):
    torch.save({'params': {'conv.weight': torch.ones(3, 3, 3, 3)}}, tmp_path / 'net.pth')
    monkeypatch.setitem(__import__('sys').modules, 'spandrel', None)
    assert 'no options inside or beside it' in complaint(tmp_path / 'net.pth')
    assert "pip install 'deeprftv2_arch[spandrel]'" in complaint(tmp_path / 'net.pth')


def test_options_inside_that_are_damaged(tmp_path):
    save_file({'a': torch.ones(1)}, tmp_path / 'net.safetensors', {'network_g': '{"type"'})
    assert 'options inside (network_g) are damaged' in complaint(tmp_path / 'net.safetensors')


def test_files_that_are_no_weights(tmp_path):
    assert 'There is no checkpoint' in complaint(tmp_path / 'net.pth')
    (tmp_path / 'net.pth').write_text('a letter')
    assert 'is not a checkpoint' in complaint(tmp_path / 'net.pth')
    (tmp_path / 'net.safetensors').write_text('a letter')
    assert 'is not a safetensors file' in complaint(tmp_path / 'net.safetensors')
    torch.save({'epoch': 3}, tmp_path / 'net.pth')
    assert 'holds no weights' in complaint(tmp_path / 'net.pth')
    torch.save({'params': {'a': torch.tensor([torch.nan])}}, tmp_path / 'net.pth')
    assert 'NaN' in complaint(tmp_path / 'net.pth')


def test_networks_for_other_images(tmp_path):
    weights = weights_of('DeepRFTv2', {**DEBLUR, 'in_channels': 4})
    path = save_network_file(tmp_path / 'a.safetensors', 'DeepRFTv2', {**DEBLUR, 'in_channels': 4}, weights)
    assert '4 channels' in complaint(path)


def test_the_weights_of_this_package_change_an_image():
    shipped = load_network()
    assert (shipped.name, shipped.scale, shipped.channels) == ('DeepRFTv2', 1, 3)
    image = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    assert 1e-4 < (shipped(image) - image).abs().mean() < 0.1


def test_package_without_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(network, 'SHIPPED', tmp_path / 'photos.safetensors')
    assert complaint(None) == 'This copy of deeprftv2_arch has no weights inside. Name a file: --weights FILE.'


def test_metadata_are_plain_json(tmp_path):
    path = save_network_file(tmp_path / 'net.safetensors', 'DeepRFTv2', DEBLUR, weights_of('DeepRFTv2', DEBLUR))
    with safe_open(path, framework='pt') as file:
        assert yaml.safe_load(file.metadata()['network_g']) == {'type': 'DeepRFTv2', **DEBLUR}
