"""Weights between the published names and ours, on the real key lists."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from published import load
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from deeprftv2_arch.archs.atd_arch import ATD, ATDFKE
from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.checkpoints import from_published, to_published
from deeprftv2_arch.checkpoints.published_keys import network_type, read_options
from deeprftv2_arch.cli.convert import main
from deeprftv2_arch.utils.errors import UserError

ROOT = Path(__file__).parents[2]


def published(name: str) -> dict[str, Tensor]:
    """Empty weights with the real keys and shapes."""
    lists = load('published_keys')
    pairs = zip(lists[f'{name}.keys'].tolist(), lists[f'{name}.shapes'].tolist(), strict=True)
    return {key: torch.empty([int(side) for side in shape.split('x')], device='meta') for key, shape in pairs}


@pytest.mark.parametrize('name', ['B', 'S'])
def test_round_trip_on_the_real_keys(name: str) -> None:
    weights = published(name)
    ours = from_published(weights)
    with torch.device('meta'):
        expected = DeepRFTv2(**read_options(weights)).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: t.shape for key, t in expected.items()}
    back = to_published(ours)
    assert {key: tensor.shape for key, tensor in back.items()} == {key: t.shape for key, t in weights.items()}


SMALL = {
    'in_channels': 3,
    'width': 4,
    'num_blocks': [1, 2, 1],
    'block_types': [['naf', 'nafevs', 'nafevs'], ['naf', 'naf', 'naf']],
    'num_columns': 2,
    'fke': True,
}


@pytest.mark.parametrize(
    'change', [{}, {'num_columns': 3}, {'fke': False}, {'block_types': [['nafevs', 'naf', 'naf']]}, {'in_channels': 1}]
)
def test_options_are_read_off_the_weights_and_values_survive(change: dict) -> None:
    options = {**SMALL, **change}
    weights = DeepRFTv2(**options).state_dict()
    names = to_published(weights)
    assert read_options(names) == options
    back = from_published(names)
    assert all(torch.equal(back[key], tensor) for key, tensor in weights.items())
    assert back.keys() == weights.keys()


def test_every_misfit_is_listed() -> None:
    weights = to_published(DeepRFTv2(**SMALL).state_dict())
    head = 'global_model.output_maxs.0.bias'
    for change, message in (
        ({head: None}, f'1 missing: {head}'),
        ({'global_model.extra': torch.zeros(1)}, '1 unexpected: global_model.extra'),
        ({head: torch.zeros(4)}, rf'1 wrongly shaped: {head} \(4 instead of 3\)'),
    ):
        changed = {key: tensor for key, tensor in {**weights, **change}.items() if tensor is not None}
        with pytest.raises(UserError, match=message):
            from_published(changed)
    with pytest.raises(UserError, match='not published weights of DeepRFTv2'):
        from_published({'conv.weight': torch.zeros(1)})
    with pytest.raises(UserError, match='has no published name'):
        to_published({'conv.weight': torch.zeros(1)})


def test_the_command_goes_both_ways_and_never_overwrites(tmp_path: Path) -> None:
    net = DeepRFTv2(**SMALL)
    source, ours, back = (tmp_path / name for name in ('published.pth', 'ours.pth', 'back.pth'))
    # As data-parallel training leaves it.
    torch.save({'params': {f'module.{key}': t for key, t in to_published(net.state_dict()).items()}}, source)
    command = [sys.executable, '-m', 'deeprftv2_arch', 'convert', str(source), str(ours)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'num_blocks: [1, 2, 1]' in done.stdout
    DeepRFTv2(**SMALL).load_state_dict(torch.load(ours)['params'])
    content = ours.read_bytes()
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr == f'Error: {ours} exists already. Name another file, or remove it first.\n'
    assert ours.read_bytes() == content
    main([str(ours), str(back)])
    assert torch.load(back)['params'].keys() == to_published(net.state_dict()).keys()
    with pytest.raises(UserError, match=r'none\.pth'):
        main([str(tmp_path / 'none.pth'), str(tmp_path / 'new.pth')])
    assert not (tmp_path / 'new.pth').exists()


NETWORKS = {'ATD': ATD, 'ATDFKE': ATDFKE}
SMALL_ATD = {
    'upscale': 2,
    'in_channels': 3,
    'width': 8,
    'depths': [2, 1],
    'heads': 2,
    'window': 4,
    'group': 128,
    'tokens': 5,
    'code_channels': 3,
    'ffn_ratio': 1.5,
    'ffn_kernel': 3,
    'exit_convs': 1,
    'upsampler': 'direct',
}


@pytest.mark.parametrize('upscale', [2, 3, 4])
@pytest.mark.parametrize(('fke', 'kind'), [('', 'ATD'), ('fke_', 'ATDFKE')])
def test_atd_on_the_real_keys(fke: str, upscale: int, kind: str) -> None:
    weights = published(f'ATD_{fke}x{upscale}')
    assert network_type(weights) == kind
    with torch.device('meta'):
        expected = NETWORKS[kind](upscale=upscale)
        assert read_options(weights) == {
            'upscale': upscale,
            'in_channels': 3,
            'width': 48,
            'depths': [6] * 4,
            'heads': 4,
            'window': 16,
            'group': 128,
            'tokens': 64,
            'code_channels': 8,
            'ffn_ratio': 1.0,
            'ffn_kernel': 7,
            'exit_convs': 1,
            'upsampler': 'direct',
        }
    ours = from_published(weights)
    assert {key: t.shape for key, t in ours.items()} == {key: t.shape for key, t in expected.state_dict().items()}
    back = to_published(ours)
    assert {key: tensor.shape for key, tensor in back.items()} == {key: t.shape for key, t in weights.items()}


@pytest.mark.parametrize('kind', NETWORKS)
@pytest.mark.parametrize(
    'change',
    [
        {},
        {'upscale': 3},
        {'upsampler': 'pixelshuffle', 'upscale': 8, 'group': 256},
        {'upsampler': 'pixelshuffle', 'upscale': 3, 'group': 256},
        {'upsampler': 'nearest', 'upscale': 4, 'group': 256, 'exit_convs': 3},
        {'width': 12, 'heads': 3, 'in_channels': 1, 'window': 2, 'depths': [1, 3, 2]},
    ],
)
def test_options_of_atd_are_read_off_the_weights_and_values_survive(kind: str, change: dict) -> None:
    options = {**SMALL_ATD, **change}
    weights = NETWORKS[kind](**options).state_dict()
    names = to_published(weights)
    assert network_type(names) == kind
    assert read_options(names) == options
    back = from_published(names)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[key], tensor) for key, tensor in weights.items())


def test_every_misfit_of_atd_is_listed() -> None:
    weights = to_published(ATDFKE(**SMALL_ATD).state_dict())
    table = 'relative_position_index_SA'
    for change, message in (
        ({'norm.bias': None}, 'do not fit ATDFKE: 1 missing: norm.bias'),
        ({table: None}, f'1 missing: {table}'),
        ({table: weights[table] + 1}, f'{table} is not the table of distances in a window of 4'),
        ({'ker_ests.2.extra': torch.zeros(1)}, r'1 unexpected: ker_ests\.2\.extra'),
        ({'norm.bias': torch.zeros(4)}, r'1 wrongly shaped: norm\.bias \(4 instead of 8\)'),
        ({'conv_first.weight': None}, r'conv_first\.weight is missing'),
    ):
        changed = {key: tensor for key, tensor in {**weights, **change}.items() if tensor is not None}
        with pytest.raises(UserError, match=message):
            from_published(changed)
    with pytest.raises(UserError, match='has no published name'):
        to_published({**ATD(**SMALL_ATD).state_dict(), 'extra.weight': torch.zeros(1)})


def test_the_command_knows_atd_and_prints_its_options(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    net, source, target = ATDFKE(**SMALL_ATD), tmp_path / 'published.pth', tmp_path / 'ours.pth'
    torch.save({'params_ema': to_published(net.state_dict())}, source)
    main([str(source), str(target)])
    assert 'type: ATDFKE\n  upscale: 2\n' in capsys.readouterr().out
    ATDFKE(**SMALL_ATD).load_state_dict(torch.load(target)['params_ema'])


def small_atd() -> dict[str, Tensor]:
    return to_published(ATD(upscale=2, depths=(2,)).state_dict())


@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: {'params': {f'_orig_mod.{key}': value for key, value in w.items()}},
        lambda w: {'params': {f'module._orig_mod.{key}': value for key, value in w.items()}},
        lambda w: {'state_dict': {f'model.{key}': value for key, value in w.items()}, 'epoch': 3},
        lambda w: {'netG': w, 'optimizer': {'state': {}, 'param_groups': []}},
        lambda w: {'epoch': 3, 'state_dict': w, 'optimizer': {'state': {0: {'step': torch.ones(1)}}}},
        lambda w: {'params': w, 'best': {'iter': 5, 'data': {}}, 'netD': {'conv.weight': torch.ones(1)}},
        lambda w: {**w, 'epoch': 3},
    ],
)
@pytest.mark.parametrize('ours', [False, True])
def test_weights_are_found_among_what_trainers_save(tmp_path, capsys, wrap, ours):
    weights = from_published(small_atd()) if ours else small_atd()
    content = wrap(weights)
    torch.save(content, tmp_path / 'in.pth')
    main([str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')])
    (group,) = torch.load(tmp_path / 'out.pth', weights_only=True).values()
    assert group.keys() == (small_atd() if ours else from_published(small_atd())).keys()
    told = capsys.readouterr().out
    for key in ('optimizer', 'epoch', 'best', 'netD'):
        assert (key in told) == (key in content)


def test_names_of_both_kinds_in_one_file_are_refused(tmp_path):
    torch.save({'a': small_atd(), 'b': from_published(small_atd())}, tmp_path / 'in.pth')
    with pytest.raises(UserError, match='a of this checkpoint have published names, b have ours'):
        main([str(tmp_path / 'in.pth'), str(tmp_path / 'out.pth')])


def test_missing_folder_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr('deeprftv2_arch.cli.convert.read_checkpoint', lambda *_: pytest.fail('the file was read'))
    with pytest.raises(UserError, match=r'there is no folder .*nowhere'):
        main([str(tmp_path / 'in.pth'), str(tmp_path / 'nowhere' / 'out.pth')])


def test_packing_keeps_the_averaged_weights_and_the_options_of_the_training(tmp_path, capsys):
    net, average = DeepRFTv2(**SMALL), DeepRFTv2(**SMALL)
    (tmp_path / 'models').mkdir()
    source, target = tmp_path / 'models' / 'net_g_best.pth', tmp_path / 'photos.safetensors'
    torch.save({'params': net.state_dict(), 'params_ema': average.state_dict()}, source)
    options = {**SMALL, 'zero_init_tails': True}  # which weights alone do not tell
    (tmp_path / 'resolved_options.yml').write_text(yaml.safe_dump({'network_g': {'type': 'DeepRFTv2', **options}}))
    main(['--pack', str(source), str(target)])
    assert f'Wrote {target}: DeepRFTv2, ' in capsys.readouterr().out
    with safe_open(target, framework='pt') as file:
        assert json.loads(file.metadata()['network_g']) == {'type': 'DeepRFTv2', **options}
    stored = load_file(target)
    assert {key: value.half() for key, value in average.state_dict().items()}.keys() == stored.keys()
    assert all(torch.equal(stored[key], value.half()) for key, value in average.state_dict().items())
    main(['--pack', '--float32', str(source), str(tmp_path / 'whole.safetensors')])
    assert all(torch.equal(load_file(tmp_path / 'whole.safetensors')[k], v) for k, v in average.state_dict().items())


def test_packing_says_what_it_cannot(tmp_path):
    torch.save({'conv.weight': torch.ones(1)}, tmp_path / 'a.pth')
    with pytest.raises(UserError, match=r'nothing tells which network .* resolved_options\.yml'):
        main(['--pack', str(tmp_path / 'a.pth'), str(tmp_path / 'b.safetensors')])
    torch.save({'params': DeepRFTv2(**SMALL).state_dict()}, tmp_path / 'net.pth')
    with pytest.raises(UserError, match=r'Let the name end in \.safetensors'):
        main(['--pack', str(tmp_path / 'net.pth'), str(tmp_path / 'b.pth')])
    with pytest.raises(UserError, match='--float32 goes with --pack'):
        main(['--float32', str(tmp_path / 'net.pth'), str(tmp_path / 'b.pth')])
