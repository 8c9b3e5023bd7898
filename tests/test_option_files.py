"""Every deblurring option file, with a miniature of its data set from download to metric values, and its header."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from basicsr.archs import build_network
from launched import SHORT, assignments, copy_project, run, stage_values
from prepare import miniatures
from processes import ROOT
from torchvision.models import alexnet

from deeprftv2_arch.cli import prepare
from deeprftv2_arch.cli.check_data import check
from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.config.protocols import find_protocol
from deeprftv2_arch.data import PairedDeblurDataset

SETS = ('gopro', 'hide', 'realblur', 'reds', 'dpdd')
FILES = {path.stem: path for name in SETS for path in sorted((ROOT / 'options').glob(f't*_{name}*.yml'))}


class Story(NamedTuple):
    """A training and the tests of its weights, with the data sets that they need by our names."""

    train: str
    tests: tuple[str, ...]
    sets: tuple[str, ...]


STORIES = (
    Story('train_gopro', ('test_gopro', 'test_hide'), ('gopro', 'hide')),
    Story('train_gopro_s', (), ('gopro',)),
    Story('train_realblur_r', ('test_realblur_r',), ('realblur_r',)),
    Story('train_realblur_j', ('test_realblur_j',), ('realblur_j',)),
    Story('train_reds', ('test_reds',), ('reds',)),
    Story('train_dpdd', ('test_dpdd',), ('dpdd',)),
    Story('train_fdikp_dpdd', ('test_fdikp_dpdd',), ('dpdd',)),
)

DOWNLOADS = {
    'gopro': miniatures.build_gopro_original,
    'hide': miniatures.build_hide_original,
    'realblur_r': lambda root: miniatures.build_realblur_original(root, 'R'),
    'realblur_j': lambda root: miniatures.build_realblur_original(root, 'J'),
    'reds': lambda root: miniatures.build_reds_original(root, clips=1),
    'dpdd': miniatures.build_dpdd_original,
}
DATA_PAGE = ROOT / 'docs' / 'data.md'
COUNTS = {
    'gopro': {'train': 6, 'test': 3},
    'hide': {'test': 3},
    'realblur_r': {'train': 6, 'test': 3},
    'realblur_j': {'train': 6, 'test': 3},
    'reds': {'train': 20, 'val': 2},
    'dpdd': {'train': 4, 'val': 4, 'test': 4},
}
CROPS = {256: 16, 384: 24, 512: 32, 640: 40, (776, 680): [56, 64]}
"""Crops and padding of the files, and what stands for them with images of 48 x 64."""

WINDOWS = {'tile': 32, 'tile_overlap': 8, 'train_size': 16, 'scan_window': 16, 'fke_window': 16, 'fke_overlap': 4}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The launchers and the option files, in a place of their own."""
    for name, counts in COUNTS.items():
        size = KNOWN_SETS[name].size and miniatures.SIZE
        monkeypatch.setitem(KNOWN_SETS, name, KNOWN_SETS[name]._replace(images=counts, size=size))
    return copy_project(tmp_path)


def read(file: str) -> dict[str, Any]:
    return yaml.safe_load(FILES[file].read_text())


def small(options: Mapping[str, Any]) -> list[str]:
    """Values for `--set` that bring a file down to miniatures: sizes and lengths, nothing else."""
    values: dict[str, Any] = {'num_gpu': 0, 'network_g.width': 4, 'network_g.num_blocks': [1, 1, 1]}
    for key, value in WINDOWS.items():
        if key in options['network_g']:
            values[f'network_g.{key}'] = value
    for name, data in options['datasets'].items():
        if 'pad_to' in data:
            values[f'datasets.{name}.pad_to'] = CROPS[tuple(data['pad_to'])]
    if 'train' in options:
        for number, stage in enumerate(options['train']['stages']):
            size = stage['gt_size']
            values |= stage_values(number, CROPS[tuple(size) if isinstance(size, list) else size])
        last = 2 * len(options['train']['stages'])
        values |= {**SHORT, 'train.total_iter': last, 'val.val_freq': last, 'logger.save_checkpoint_freq': 1}
    return assignments(values)


def prepared(project: Path, name: str) -> Path:
    """Prepare a data set where the option files look for it, and look through it."""
    source, out = project / 'downloads' / name, project / 'datasets' / KNOWN_SETS[name].folder
    DOWNLOADS[name](source)
    arguments = [name, '--source', str(source), '--out', str(out), '--workers', '1']
    if name == 'dpdd':
        (source / 'indoor.txt').write_text('1\n3\n')
        arguments += ['--indoor-list', str(source / 'indoor.txt')]
    prepare.main(arguments)
    return out


@pytest.fixture(scope='module')
def trunk(tmp_path_factory) -> Path:
    """A stand-in for the weights that LPIPS downloads."""
    file = tmp_path_factory.mktemp('trunk') / 'alexnet.pth'
    torch.manual_seed(0)
    torch.save({f'features.{key}': value for key, value in alexnet().features.state_dict().items()}, file)
    return file


@pytest.mark.slow
@pytest.mark.parametrize('story', STORIES, ids=[story.train for story in STORIES])
def test_from_the_download_to_the_values(story, project, trunk):
    for name in story.sets:
        assert check(name, prepared(project, name)) == []
    options = read(story.train)
    stages = options['train']['stages']
    arguments = ('-opt', f'options/{story.train}.yml', '--set', *small(options))

    said = run(project, 'train', *arguments)
    last = 2 * len(stages)
    assert re.search(rf'iter: +{last}, .*l_total: \d', said), said
    experiment = project / 'experiments' / options['name']
    weights = torch.load(experiment / 'models' / 'net_g_latest.pth')['params']
    assert all(value.isfinite().all() for value in weights.values())

    # From inside the first stage, through all others, to the same weights.
    run(project, 'train', *arguments, f'path.resume_state={experiment}/training_states/1.state')
    resumed = torch.load(experiment / 'models' / 'net_g_latest.pth')['params']
    assert all(torch.equal(resumed[key], value) for key, value in weights.items())

    for test in story.tests:
        options = read(test)
        values, groups = small(options), suggestions(test, 'datasets.test.groups')
        if 'lpips' in options['val']['metrics']:
            values.append(f'val.metrics.lpips.trunk={trunk}')
        said = run(project, 'test', '-opt', f'options/{test}.yml', '--set', *values, *chain.from_iterable(groups))
        data = options['datasets']['test']
        images = COUNTS[data['protocol']][Path(data['dataroot_gt']).parent.name]
        assert f'Found: {images} images, expected {find_protocol(data["protocol"]).expected_images:,}' in said
        for metric in options['val']['metrics']:
            assert re.search(rf'\| all +\| +{images} \| {metric} +\| +-?\d+\.\d+ \| \d', said), said
        assert all(re.search(rf'\| {group} +\| +2 \| mae', said) for group in ('indoor', 'outdoor') if groups), said
        pictures = project.glob(f'results/{options["name"]}/visualization/*/*.png')
        assert len(list(pictures)) == images


def suggestions(file: str, part: str) -> list[list[str]]:
    """The values for `--set` that the header of a file names, of those below one key."""
    lines = [line for line in FILES[file].read_text().splitlines() if line.startswith('#')]
    header = ' '.join(line.lstrip('# ') for line in lines).replace('\\ ', '')
    found = [shlex.split(text) for text in re.findall(r"--set ((?:[\w.]+=\S+ ?|'[^']+' ?)+)", header)]
    return [values for values in found if all(value.startswith(f'{part}.') for value in values)]


TEST_FILES = sorted(file for file in FILES if file.startswith('test_'))


@pytest.mark.parametrize('file', TEST_FILES)
def test_other_ways_to_restore_take_the_same_weights(file):
    assert len(suggestions(file, 'network_g')) == 2
    options = {**read(file)['network_g'], 'width': 4, 'num_blocks': [1, 1, 1]}
    weights = build_network(options).state_dict()
    for suggestion in suggestions(file, 'network_g'):
        values = dict(text.removeprefix('network_g.').split('=', 1) for text in suggestion)
        net = build_network({**options, **{key: yaml.safe_load(value) for key, value in values.items()}})
        net.load_state_dict(weights)
        assert net(torch.rand(1, 3, 40, 48)).shape == (1, 3, 40, 48)


@pytest.mark.parametrize('file', TEST_FILES)
def test_files_follow_their_protocol_and_name_its_rows(file):
    options, header = read(file), FILES[file].read_text().partition('\nname:')[0]
    data = options['datasets']['test']
    protocol = find_protocol(data['protocol'])
    assert {name: options['val']['metrics'].get(name) for name in protocol.metrics} == protocol.metrics
    assert f'{protocol.expected_images:,}' in header
    for row in protocol.paper:
        assert all(figure in header for figure in row.values.values())
        assert re.search(rf'{row.network}\b', header)
    assert f'python basicsr/test.py -opt options/{file}.yml' in header


@pytest.mark.parametrize('file', [file for file in FILES if file.startswith('train_')])
def test_lengths_and_batches_are_those_of_the_paper(file):
    # Section 4.1, groups A to D; the 150,000 iterations on DPDD are the release's, for the paper's 200,000.
    expected = {
        'train_gopro': [(256, 16, 450_000), (512, 8, 150_000)],
        'train_gopro_s': [(256, 16, 200_000)],
        'train_realblur_r': [(512, 16, 50_000), ([776, 680], 8, 100_000)],
        'train_realblur_j': [(512, 16, 50_000), ([776, 680], 8, 100_000)],
        'train_reds': [(512, 8, 600_000)],
        'train_dpdd': [(640, 8, 150_000)],
        # 1,500 and 100 epochs of 88 steps, as P2IKT trains.
        'train_fdikp_dpdd': [(384, 4, 1500 * 88), (512, 4, 100 * 88)],
    }
    options = read(file)
    stages = [
        tuple(stage[key] for key in ('gt_size', 'total_batch', 'iterations')) for stage in options['train']['stages']
    ]
    assert stages == expected[file]
    assert options['train']['total_iter'] == sum(iterations for *_, iterations in expected[file])
    optimizer = {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9], 'weight_decay': 1e-3}
    if file == 'train_fdikp_dpdd':
        optimizer = {'type': 'Adam', 'lr': 2e-4, 'betas': [0.9, 0.999]}
    assert options['train']['optim_g'] == optimizer
    assert options['train']['grad_clip'] == 0.01
    assert f'python basicsr/train.py -opt options/{file}.yml' in FILES[file].read_text()


def test_sections_of_the_data_page(project, monkeypatch):
    monkeypatch.chdir(project)
    miniatures.build_realblur_original(project / 'RealBlur', 'J')
    miniatures.build_reds_original(project / 'REDS', clips=1)
    miniatures.build_dpdd_original(project / 'dpdd')
    miniatures.build_gopro_original(project / 'gopro', frames=1, size=(512, 768))
    for name, *arguments in (('dpdd', '--bit-depth', '16'), ('gopro', '--crops', '--lmdb')):
        out = f'datasets/{KNOWN_SETS[name].folder}'
        prepare.main([name, '--source', name, '--out', out, '--workers', '1', '--allow-incomplete', *arguments])
    sections = [yaml.safe_load(text) for text in re.findall('```yaml\n(.+?)```', DATA_PAGE.read_text(), re.DOTALL)]
    sections = [section for section in sections if 'dataroot_gt' in section]
    sizes = []
    for section in sections:
        dataset = PairedDeblurDataset({'name': 'x', 'phase': 'train', 'gt_size': 32, **section})
        sizes.append(len(dataset))
        assert dataset[0]['lq'].shape == (3, 32, 32)
    # Two photographs of 768 pixels give two crops each.
    assert sizes == [4, 6, 20, 4]
