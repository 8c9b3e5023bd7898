"""Every option file of the repository, mutated: refused in words, or accepted; then it builds, or says why not."""

from __future__ import annotations

import copy
import datetime
import random
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from basicsr.data import build_dataset
from basicsr.models import build_model
from processes import ROOT

from deeprftv2_arch.config import load
from deeprftv2_arch.config.components import registered
from deeprftv2_arch.data.loading import build_training_loader
from deeprftv2_arch.launch.error_messages import user_message
from deeprftv2_arch.utils.errors import UserError

FILES = sorted((ROOT / 'options').rglob('*.yml'))
MUTATIONS = 2000
"""Of all files together; each file has the same share."""

VALUES = (
    *(None, True, False, 0, -1, 1, 2, 99, 0.0, -0.5, 0.5, 1.0, 3.5, 1e30, float('inf'), float('-inf'), float('nan')),
    *('', ' ', 'x', '~', '{', '{}', '%s', 'a/b', '../x', '\u00e4', '\u4e2d', '1e-3', 'auto', 'true', '\0', 'x' * 300),
    *([], [1], [0, 0], [[1]], ['x'], [None], [1, 'x'], [2, 2], {}, {'type': 'x'}, {'type': None}, {'a': None}),
    *({1: 2}, {None: 1}, {'type': ['x']}, datetime.date(2020, 1, 1), b'x'),
)

Place = tuple[Any, Any]
"""A mapping or a list, and a key of it."""


def small(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The options of a file with networks and images so small that hundreds of them are built in a minute."""
    scale = options.get('scale') or 1
    for data in options['datasets'].values():
        for key in data:
            if key.startswith('dataroot'):
                data[key] = str(folder / (f'x{scale}' if key == 'dataroot_lq' else 'x1'))
        data.pop('meta_info_file', None)
        if 'groups' in data:
            data['groups'] = {name: str(folder / 'list.txt') for name in data['groups']}
        if 'gt_size' in data:
            data['gt_size'] = 24
        if 'num_worker_per_gpu' in data:
            data['num_worker_per_gpu'] = 0
        if 'io_backend' in data:
            data['io_backend'] = {'type': 'disk'}
    tiny = {'width': 4, 'num_blocks': [1, 1], 'block_types': [['naf', 'naf']], 'num_columns': 1, 'fke': False}
    tiny |= {'depths': [1], 'heads': 2, 'tokens': 4, 'group': 16}
    network = options['network_g']
    network.update({key: value for key, value in tiny.items() if key in network})
    if network['type'] == 'DeepRFTv2':
        network.update(num_columns=1, fke=False)
    for stage in (options.get('train') or {}).get('stages') or ():
        stage.update(gt_size=24, total_batch=8)
    for key, value in options['path'].items():
        if isinstance(value, str) and key.startswith('pretrain'):
            options['path'][key] = None
    options['num_gpu'] = 0
    options.setdefault('manual_seed', 0)
    if 'logger' in options:
        options['logger']['use_tb_logger'] = False
    return options


def places(part: Any) -> Iterator[Place]:
    """Every key and every entry of a list, at every depth."""
    entries = list(part.items()) if isinstance(part, dict) else list(enumerate(part))
    for key, value in entries:
        yield part, key
        if isinstance(value, dict | list):
            yield from places(value)


def mutate(options: dict[str, Any], rng: random.Random) -> None:
    """Change one thing or two."""
    for _ in range(rng.choice((1, 1, 2))):
        part, key = rng.choice(list(places(options)))
        kind = rng.choice(('delete', 'value', 'value', 'value', 'misspell', 'nest', 'list', 'add', 'swap'))
        if kind == 'delete':
            del part[key]
        elif kind == 'value':
            part[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == 'nest':
            part[key] = {rng.choice(('type', 'x', str(key))): part[key]}
        elif kind == 'list':
            part[key] = [part[key]]
        elif kind == 'swap':
            other, name = rng.choice(list(places(options)))
            part[key] = copy.deepcopy(other[name])
        elif isinstance(part, dict):
            name = misspelt(str(key), rng)
            part[name] = part.pop(key) if kind == 'misspell' else copy.deepcopy(rng.choice(VALUES))


def misspelt(name: str, rng: random.Random) -> str:
    at = rng.randrange(len(name) + 1)
    return rng.choice((name[:at] + name[at + 1 :], name[:at] + 'x' + name[at:], name.upper(), f'{name}_x'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Pairs for every scale."""
    root = tmp_path_factory.mktemp('fuzz')
    rng = np.random.default_rng(0)
    for scale in (1, 2, 3, 4):
        (root / f'x{scale}').mkdir()
        for index in range(8):
            image = rng.integers(0, 256, (96 // scale, 96 // scale, 3), np.uint8)
            cv2.imwrite(str(root / f'x{scale}' / f'{index}.png'), image)
    (root / 'list.txt').write_text('1\n2\n')
    return root


def build(options: dict[str, Any], folder: Path, is_train: bool) -> None:
    """Make what a run makes before its first iteration, as BasicSR does."""
    opt = copy.deepcopy(options)
    opt.update(dist=False, rank=0, world_size=1, is_train=is_train, auto_resume=False)
    for name, data in opt['datasets'].items():
        data['phase'] = name.split('_')[0]
        if opt.get('scale') is not None:
            data['scale'] = opt['scale']
    names = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')
    opt['path'].update({name: str(folder / 'run') for name in names})
    model_opt = copy.deepcopy(opt)
    for data in opt['datasets'].values():
        dataset = build_dataset(data)
        if data['phase'] == 'train':
            opt = {'manual_seed': 0, **opt}  # BasicSR draws one where there is none
            build_training_loader(dataset, opt)
        if data['phase'] != 'train' or 'gt_size' in data:  # where there are stages, the loader asks for their crops
            dataset[0]
    build_model(model_opt)


REFUSED, ACCEPTED, TOLD = 'refused', 'accepted', 'accepted, and told when built'


def outcome(options: dict[str, Any], is_train: bool, folder: Path) -> str:
    """What becomes of options: refused in words, accepted, or a fault that would end in a traceback."""
    Path('run.yml').write_text(yaml.safe_dump(options, sort_keys=False), encoding='utf-8')
    try:
        read = load.read_checked('run.yml', is_train=is_train)
    except UserError as error:
        return REFUSED if str(error).strip() else 'refused without a word'
    except Exception:
        return f'the check: {traceback.format_exc(limit=-3)}'
    try:
        build(read.options, folder, is_train)
    except Exception as error:
        if not user_message(error):
            return f'accepted, and then: {traceback.format_exc(limit=-3)}'
        return f'{TOLD}: {user_message(error)}'
    return ACCEPTED


@pytest.mark.slow
@pytest.mark.parametrize('number', range(len(FILES)), ids=[file.stem for file in FILES])
def test_mutated_options_are_accepted_or_refused_in_words(number, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Where images need no scale, both of a pair are the same files here.
    monkeypatch.setattr('deeprftv2_arch.data.paired_images.PairedImages._check_names', lambda *_: None)
    catalogue = registered()
    monkeypatch.setattr(load, 'registered', lambda: catalogue)
    base = small(yaml.safe_load(FILES[number].read_text(encoding='utf-8')), folder)
    is_train = 'train' in base
    assert outcome(copy.deepcopy(base), is_train, tmp_path) == ACCEPTED
    faults = []
    for seed in range(-(-MUTATIONS // len(FILES))):
        options = copy.deepcopy(base)
        mutate(options, random.Random(1000 * number + seed))
        found = outcome(options, is_train, tmp_path)
        if found not in (REFUSED, ACCEPTED) and not found.startswith(TOLD):
            faults.append(f'seed {seed}: {found}{Path("run.yml").read_text(encoding="utf-8")}')
    assert not faults, f'{len(faults)} faults\n\n' + '\n'.join(faults)
