"""Every option file of super-resolution, with miniatures of its data from download to metric values, and its header."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY
from launched import SHORT, assignments, copy_project, run, stage_values
from prepare import miniatures
from processes import ROOT

from deeprftv2_arch.cli import prepare
from deeprftv2_arch.cli.check_data import check
from deeprftv2_arch.config.known_sets import KNOWN_SETS, SR_BENCHMARK
from deeprftv2_arch.config.protocols import find_protocol

FILES = {path.stem: path for path in sorted((ROOT / 'options').glob('*_sr_*.yml'))}
SMALL = {'num_gpu': 0, 'network_g.width': 8, 'network_g.depths': [1, 1], 'network_g.heads': 2, 'network_g.window': 8}


def read(file: str) -> dict[str, Any]:
    return yaml.safe_load(FILES[file].read_text())


def small(file: str) -> list[str]:
    """Values for `--set` that bring a file down to miniatures: sizes and lengths, nothing else."""
    values, options = dict(SMALL), read(file)
    if 'train' in options:
        values |= {**SHORT, **stage_values(0, 16 * options['scale'])}
        values |= {'train.total_iter': 2, 'train.warmup_iter': -1, 'val.val_freq': 2, 'logger.save_checkpoint_freq': 2}
    return assignments(values)


@pytest.fixture(scope='module')
def project(tmp_path_factory) -> Path:
    """Launchers, option files, and miniatures of all data that the files name, prepared from their downloads."""
    root = copy_project(tmp_path_factory.mktemp('project'))
    miniatures.build_df2k(root / 'downloads')
    miniatures.build_benchmark(root / 'benchmark', 'edsr')
    with pytest.MonkeyPatch.context() as patch:
        for name, counts in {'div2k': 2, 'flickr2k': 1, 'df2k': 3}.items():
            patch.setitem(KNOWN_SETS, name, KNOWN_SETS[name]._replace(images={'train': counts}, train_crops=None))
        for name in ('set5', 'bsd100'):
            patch.setitem(KNOWN_SETS, name, KNOWN_SETS[name]._replace(images={'test': 2}))
        for name, source in (('div2k', root / 'downloads' / 'DIV2K'), ('df2k', root / 'downloads')):
            out = root / 'datasets' / KNOWN_SETS[name].folder
            prepare.main([name, '--source', str(source), '--out', str(out), '--workers', '1'])
            assert check(name, out) == []
        out = root / 'datasets' / 'SR'
        arguments = ['--source', str(root / 'benchmark'), '--out', str(out), '--parts', 'set5', 'bsd100']
        prepare.main(['srbench', *arguments, '--workers', '1'])
        assert check('srbench', out) == []
    for folder in ('Set14', 'Urban100', 'Manga109'):
        shutil.copytree(out / 'Set5', out / folder)
    return root


def weights(project: Path, file: str, key: str = 'params') -> dict[str, torch.Tensor]:
    return torch.load(project / 'experiments' / read(file)['name'] / 'models' / 'net_g_latest.pth')[key]


@pytest.mark.slow
@pytest.mark.parametrize('plain', ['', '_atd'], ids=['ATDFKE', 'ATD'])
def test_from_the_downloads_to_the_values(project, plain):
    for file in ['train_sr_x2_atd'] if plain else ['train_sr_x2', 'train_sr_x3', 'train_sr_x4']:
        said = run(project, 'train', '-opt', f'options/{file}.yml', '--set', *small(file))
        assert re.search(r'iter: +2, .*l_total: \d', said), said
        assert re.search(r'psnr_y: \d', said), said

    start = weights(project, f'train_sr_x2{plain}')
    for file in (f'train_sr_x{scale}{plain}_finetune' for scale in (3, 4)):
        said = run(project, 'train', '-opt', f'options/{file}.yml', '--set', *small(file), 'train.optim_g.lr=0.0')
        anew = re.search(r'but for what starts anew \(path\.strict_load_except_g\): (.+)\.', said)[1].split(', ')
        tuned = weights(project, file)
        assert anew == [key for key in tuned if key.startswith('upsampler.')]
        assert all(torch.equal(tuned[key], start[key]) for key in tuned.keys() - set(anew))

    options = read('test_sr_x4')
    name = read(f'train_sr_x4{"_atd_finetune" if plain else ""}')['name']
    more = ['network_g.type=ATD', 'network_g.tile=~'] if plain else ['network_g.tile=8', 'network_g.tile_overlap=2']
    more += [f'path.pretrain_network_g=experiments/{name}/models/net_g_latest.pth']
    said = run(project, 'test', '-opt', 'options/test_sr_x4.yml', '--set', *small('test_sr_x4'), *more)
    for data in options['datasets'].values():
        expected = find_protocol(data['protocol']).expected_images
        assert re.search(rf'{data["name"]}\n.*\n.*\n.*\n\tFound: 2 images, expected {expected}', said), said
    names = ' \\| +'.join(data['name'] for data in options['datasets'].values())
    assert re.search(rf'\| psnr_y / ssim_y +\| +{names} \|', said), said
    assert re.search(r'\| ours +(\| +\d+\.\d\d / -?\d\.\d{4} ){5}\|', said), said
    assert f'Test mode: {"whole images" if plain else "blended tiles of 8 pixels"}' in said


@pytest.mark.parametrize('file', [file for file in FILES if file.startswith('test')])
def test_files_follow_their_protocols_and_name_their_rows(file):
    options, header = read(file), FILES[file].read_text().partition('\nname:')[0]
    protocols = [find_protocol(data['protocol']) for data in options['datasets'].values()]
    assert [protocol.name for protocol in protocols] == [f'{name}_x{options["scale"]}' for name in SR_BENCHMARK]
    for protocol in protocols:
        assert options['val']['metrics'] == protocol.metrics
        for row in protocol.paper:
            assert '/'.join(row.values.values()) in header
    assert f'python basicsr/test.py -opt options/{file}.yml' in header


@pytest.mark.parametrize('file', [file for file in FILES if file.startswith('train')])
def test_networks_are_those_of_the_paper(file):
    options, header = read(file), FILES[file].read_text().partition('\nname:')[0]
    # Table 5, in thousands.
    expected = {('ATD', 2): 753, ('ATD', 3): 760, ('ATD', 4): 769}
    expected |= {('ATDFKE', 2): 1163, ('ATDFKE', 3): 1170, ('ATDFKE', 4): 1179}
    network, scale = options['network_g'], options['scale']
    assert network['type'] in ARCH_REGISTRY
    parameters = sum(parameter.numel() for parameter in build_network(network).parameters())
    assert round(parameters / 1000) == expected[network['type'], scale]
    assert network['upscale'] == scale
    assert options['train']['stages'][0]['gt_size'] == 64 * scale
    assert options['train']['total_iter'] == options['train']['stages'][0]['iterations']
    assert f'python basicsr/train.py -opt options/{file}.yml' in header
