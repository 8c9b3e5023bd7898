"""The catalogue of what is imported and that of the source files say the same; what sources cannot tell is doubted."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import basicsr
import pytest
import torch
import yaml
from processes import ROOT, error_lines, python, stock_options

from deeprftv2_arch.config import source_tree, sources
from deeprftv2_arch.config.catalogue import REGISTRIES, Entry
from deeprftv2_arch.config.components import BASE_MODEL, SCHEDULERS
from deeprftv2_arch.config.gpus import count_gpus
from deeprftv2_arch.config.load import read_checked, refuse_early
from deeprftv2_arch.config.problems import OptionsError
from deeprftv2_arch.config.reference import entries_of_ours, reference
from deeprftv2_arch.config.registries import Registries
from deeprftv2_arch.config.schema import OPTIMIZERS
from deeprftv2_arch.config.signatures import signature_section
from deeprftv2_arch.config.sources import CHECKS, Sources

IMPORTED = Registries()


def told(entry: Entry, given: tuple[str, ...] = ()) -> list[Any]:
    """All that option files are judged by."""
    section = signature_section(entry, '', given)
    keys = [(key.name, key.expected(), key.needed, key.meaning) for key in section.keys]
    return [entry.name, entry.module, section.about, section.unknown, *keys]


def same_defaults(imported: Entry, read: Entry) -> bool:
    pairs = zip(imported.parameters, read.parameters, strict=True)
    return all(b.default in (a.default, source_tree.Unknown) for a, b in pairs)


def installed(registry: str) -> list[str]:
    """Names that BasicSR and this package register; other tests of this process register more."""
    found = ((name, IMPORTED.find(registry, name).module) for name in IMPORTED.names(registry))
    return [name for name, module in found if module.startswith(('basicsr.', 'deeprftv2_arch.'))]


@pytest.mark.parametrize('registry', REGISTRIES)
def test_everything_registered_is_read_alike(registry):
    read = Sources()
    assert sorted(read.names(registry)) == sorted(installed(registry))
    for name in installed(registry):
        here, there = IMPORTED.find(registry, name), read.find(registry, name)
        assert told(there) == told(here)
        assert same_defaults(here, there), name
    assert read.doubts == []


def test_optimizers_and_schedules_are_read_alike():
    read = Sources()
    for kind in OPTIMIZERS:
        here, there = IMPORTED.optimizer(kind), read.optimizer(kind)
        # Their docstrings are put together while torch is imported; no message quotes them.
        assert told(there, ('params',))[:2] == told(here, ('params',))[:2]
        assert [key[:3] for key in told(there, ('params',))[3:]] == [key[:3] for key in told(here, ('params',))[3:]]
        assert same_defaults(here, there)
    for kind in SCHEDULERS.values():
        assert told(read.scheduler(kind)) == told(IMPORTED.scheduler(kind))
    assert read.doubts == []


def test_methods_of_models_are_found_alike():
    read = Sources()
    for model in installed('model'):
        for method in ('setup_optimizers', 'setup_schedulers', 'optimize_parameters', 'nothing'):
            entry = read.find('model', model)
            assert read.definer(entry, method) == IMPORTED.definer(entry, method), (model, method)
    assert read.definer(read.find('model', 'SRModel'), 'setup_schedulers') == BASE_MODEL


def test_the_reference_could_be_made_from_the_sources():
    assert reference(Sources()) == reference(IMPORTED)


CHOICES = {
    'DeepRFTv2': {
        'in_channels': (3, 0),
        'width': (4, 0),
        'num_blocks': ([1, 1], [0, 1], [1], [1, -1], [1, 1, 1]),
        'block_types': (
            [['naf', 'nafevs']],
            [['naf', 'localnafevs'], ['localnaf', 'naf']],
            [['naf']],
            [],
            [['x'] * 2],
        ),
        'layout': ('dms', 'mimo', 'unet'),
        'num_columns': (1, 0),
        'train_size': (None, 64, 1, 0),
        'scan_window': (None, 32, 1, -4),
        'fke': (True, False),
        'fke_window': (None, 32, 12, 7, 0, 4),
        'fke_overlap': (0, 8, 3, 32, -8),
        'fke_block': ('vs', 'res', 'naf', 'x'),
        'fke_depths': ([1, 1, 1, 1], [2, 1, 1, 1], [1, 1], [1, 1, 0, 1]),
        'fke_domain': ('fourier', 'spatial', 'x'),
        'fke_activation': (True, False),
        'fke_input': ('decoder', 'encoder', 'restored', 'image', 'x'),
        'fke_target': (None, 'decoder', 'image', 'x'),
        'fke_operation': ('multiply', 'add', 'x'),
        'fke_skip': (True, False),
        'tile': (None, 'auto', 64, 32, 10, 0),
        'tile_overlap': (None, 16, 0, 5, 64, -8),
    },
    'ATDFKE': {
        'upscale': (4, 2, 3, 5, 0),
        'in_channels': (3, 1, 0),
        'width': (8, 6, 2, 0, -4),
        'depths': ([1], [1, 1], [], [0]),
        'heads': (2, 1, 3, 0, -2),
        'window': (4, 8, 3, 0),
        'group': (16, 0),
        'tokens': (4, 0),
        'code_channels': (2, 0),
        'ffn_ratio': (1.0, 2, 0.01, 0),
        'ffn_kernel': (3, 4, 1, -1),
        'exit_convs': (1, 3, 2),
        'upsampler': ('direct', 'pixelshuffle', 'nearest'),
        'tile': (None, 'auto', 16, 0),
        'tile_overlap': (None, 4, 16, -1),
        'fke_window': (None, 8, 0),
        'fke_overlap': (0, 4, 8, -1),
    },
    'Bicubic': {'upscale': (2, 1, 0, -1)},
}
"""Arguments of our networks. The first ones are small and fit."""
CHOICES['ATD'] = {key: values for key, values in CHOICES['ATDFKE'].items() if not key.startswith('fke')}


class TestRefusals:
    """What networks of ours say against their arguments, asked of their checks and by building them."""

    @pytest.mark.parametrize('name', CHOICES)
    def test_are_those_of_the_check(self, name):
        draw, entry = random.Random(name), IMPORTED.find('arch', name)
        refused = 0
        for _ in range(120):
            # One to three arguments that may not fit; of the others the first choice, which is small and fits.
            arguments = {key: values[0] for key, values in CHOICES[name].items()}
            for key in draw.sample(sorted(arguments), min(len(arguments), draw.randint(1, 3))):
                arguments[key] = draw.choice(CHOICES[name][key])
            refusal = IMPORTED.refusal(entry, arguments)
            assert Sources().refusal(entry, arguments) == refusal, arguments
            refused += bool(refusal)
        assert 20 < refused < 110

    def test_all_of_ours_have_a_check_or_are_doubted(self):
        ours = {entry.name for registry in ('arch', 'loss') for entry in entries_of_ours(IMPORTED, registry)}
        assert ours - set(CHECKS) == {'WithFKE'}
        read = Sources()
        assert read.refusal(IMPORTED.find('arch', 'WithFKE'), {}) == ''
        assert read.doubts == ['WithFKE must be built to be checked.']


@pytest.fixture
def build(tmp_path, monkeypatch) -> Path:
    """A copy of BasicSR whose sources are read in the place of the installed one's."""
    folder = tmp_path / 'site' / 'basicsr'
    shutil.copytree(Path(basicsr.__file__).parent, folder, ignore=shutil.ignore_patterns('__pycache__'))
    find = source_tree.package_folder.__wrapped__
    monkeypatch.setattr(source_tree, 'package_folder', lambda name: folder if name == 'basicsr' else find(name))
    for cached in (source_tree.read_module, sources._registrations):
        cached.cache_clear()
    yield folder
    for cached in (source_tree.read_module, sources._registrations):
        cached.cache_clear()


PLUGINS = {
    'an import': 'import plugin\n',
    'a part of an import': 'if True:\n    import os, plugin.archs as p  # ours\n',
    'from an import': 'from plugin.archs import *\n',
    'a call': 'from basicsr.utils.registry import ARCH_REGISTRY\nARCH_REGISTRY.register(type("Net", (), {}))\n',
    'a function': 'from basicsr.utils.registry import ARCH_REGISTRY\n\ndef make():\n    @ARCH_REGISTRY.register()\n'
    '    class Net:\n        pass\n\nmake()\n',
    'another name': 'from basicsr.utils.registry import ARCH_REGISTRY as R\n\n@R.register()\nclass Net:\n    pass\n',
}


@pytest.mark.parametrize('source', PLUGINS.values(), ids=PLUGINS)
def test_a_name_may_be_registered_by_what_is_not_read(build, tmp_path, source):
    options = stock_options(tmp_path, tmp_path)
    options['network_g'] = {'type': 'Net', 'shape': 'any'}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
    with pytest.raises(OptionsError, match='nothing is registered'):
        refuse_early(tmp_path / 'run.yml', is_train=True)
    (build / 'archs' / 'net_arch.py').write_text(source)
    refuse_early(tmp_path / 'run.yml', is_train=True)


NETWORK = (
    'from basicsr.utils.registry import ARCH_REGISTRY\nfrom torch import nn\n{}\n\n@ARCH_REGISTRY.register()\n{}\n'
)


def test_a_folder_of_its_own_is_doubted(build):
    """As in a fork whose `archs` looks for files in other places too."""
    (build / 'archs' / 'more').mkdir()
    (build / 'archs' / 'more' / 'net_arch.py').write_text(NETWORK.format('', 'class Net(nn.Module):\n    pass'))
    read = Sources()
    assert (read.find('arch', 'Net'), 'Net' in read.names('arch'), len(read.doubts)) == (None, False, 1)


def test_a_broken_source_file_is_left_to_its_import(build, tmp_path):
    (tmp_path / 'run.yml').write_text('nam: x\nmodel_type: SRModel\n')
    with pytest.raises(OptionsError):
        refuse_early(tmp_path / 'run.yml', is_train=True)
    (build / 'models' / 'net_model.py').write_text(NETWORK.format('', 'class Net(:'))
    sources._registrations.cache_clear()
    refuse_early(tmp_path / 'run.yml', is_train=True)


@pytest.mark.parametrize(
    ('before', 'definition', 'doubt'),
    [
        ('import functools', '@functools.cache\ndef Net(width):\n    pass', 'Net is decorated'),
        ('', 'class Net(nn.Linear):\n    pass', 'Net has a foreign constructor'),
        ('', 'class Net(nn.Module):\n    def __new__(cls, *a):\n        pass', 'Net is made in a way of its own'),
        ('', 'class Net(nn.Module, metaclass=type):\n    def __init__(self):\n        pass', 'a way of its own'),
        ('', 'class Net(nn.Module):\n    @staticmethod\n    def __init__(*a):\n        pass', '__init__ is decorated'),
        ('from basicsr.archs.edsr_arch import EDSR as Net', 'class Net(Net):\n    pass', 'Net is defined twice'),
        ('Base = make()', 'class Net(Base):\n    pass', 'Net has a foreign constructor'),
    ],
)
def test_a_signature_may_be_made_in_another_way(build, before, definition, doubt):
    (build / 'archs' / 'net_arch.py').write_text(NETWORK.format(before, definition))
    read = Sources()
    entry = read.find('arch', 'Net')
    assert signature_section(entry, '').unknown == 'allowed'
    assert doubt in read.doubts[0]


def test_a_network_of_a_checkout_is_read_with_its_base(build):
    body = 'class Net(Base):\n    pass'
    (build / 'archs' / 'base.py').write_text('class Base:\n    def __init__(self, a, *, b=2): pass\n')
    (build / 'archs' / 'net_arch.py').write_text(NETWORK.format('from .base import Base', body))
    read = Sources()
    keys = signature_section(read.find('arch', 'Net'), '').keys
    assert [(key.name, key.needed) for key in keys] == [('type', 'always'), ('a', 'always'), ('b', '')]
    assert read.doubts == []


def test_a_plugin_of_the_basicsr_passes_in_the_end(tmp_path):
    """A file in a checkout's folder of networks that imports someone's package, which registers its own there."""
    site = tmp_path / 'site'
    shutil.copytree(Path(basicsr.__file__).parent, site / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    (site / 'basicsr' / 'archs' / 'plugin_arch.py').write_text('import plugin\n')
    (site / 'plugin.py').write_text(NETWORK.format('', 'class Net(nn.Module):\n    pass'))
    options = stock_options(tmp_path, tmp_path)
    options['network_g'] = {'type': 'Net'}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
    done = python('-m', 'deeprftv2_arch', 'options', 'run.yml', folder=tmp_path, path=[site, ROOT])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, 'run.yml: nothing is wrong.'), done.stderr


NO_TORCH = """
import sys

def refuse(event, arguments):
    if event == 'import' and arguments[0].split('.')[0] in ('torch', 'torchvision', 'basicsr', 'numpy', 'cv2', 'scipy'):
        raise SystemExit(f'{arguments[0]} is imported')

sys.addaudithook(refuse)
"""
"""A start-up file of Python: an import of what takes long ends the program."""

COMMANDS = {
    'train script': (ROOT / 'basicsr' / 'train.py', '-opt'),
    'test script': (ROOT / 'basicsr' / 'test.py', '-opt'),
    'train': ('-m', 'deeprftv2_arch.train', '-opt'),
    'train in one word': ('-mdeeprftv2_arch.train', '-opt'),
    'test': ('-m', 'deeprftv2_arch.test', '-opt'),
    'options': ('-m', 'deeprftv2_arch', 'options'),
}


class TestWithoutImports:
    """Where imports of torch and of BasicSR end the program."""

    @pytest.fixture
    def path(self, tmp_path) -> list[Path]:
        folder = tmp_path / 'no_torch'
        folder.mkdir()
        (folder / 'sitecustomize.py').write_text(NO_TORCH)
        return [folder, ROOT]

    @pytest.fixture
    def good(self, training_options, write_pairs) -> dict[str, Any]:
        return training_options(write_pairs())

    @pytest.mark.parametrize('command', COMMANDS.values(), ids=COMMANDS)
    def test_all_mistakes_are_told(self, good, path, tmp_path, command):
        wrong = {**good, 'val': {**good['val'], 'save_imag': True}, 'nam': 'x'}
        wrong['network_g'] = {'type': 'DeepRFTv2', 'num_blocks': [1]}
        wrong['datasets'] = {'train': {**good['datasets']['train'], 'type': 'PairedDeblur'}, 'val': {'gt_size': 'x'}}
        wrong['train'] = {**good['train'], 'optim_g': {'type': 'AdamW', 'lr': [1], 'beta': 1}}
        (tmp_path / 'run.yml').write_text(yaml.safe_dump(wrong))
        done = python(*command, 'run.yml', folder=tmp_path, path=path)
        assert done.returncode == 2, done.stderr
        is_train = 'test' not in ' '.join(map(str, command))
        with pytest.raises(OptionsError) as raised:
            read_checked(tmp_path / 'run.yml', is_train=is_train)
        lines = [line.replace(f'{tmp_path}/run.yml', 'run.yml') for line in str(raised.value).splitlines()]
        assert error_lines(done) == [f'Error: {line}' for line in lines]
        assert len(lines) >= (8 if is_train else 5)

    @pytest.mark.parametrize('command', COMMANDS.values(), ids=COMMANDS)
    def test_a_good_file_needs_them(self, good, path, tmp_path, command):
        """Else the tests above could not fail."""
        if 'test' in ' '.join(map(str, command)):
            good['datasets'] = {'test': good['datasets']['val']}
        (tmp_path / 'run.yml').write_text(yaml.safe_dump(good))
        done = python(*command, 'run.yml', folder=tmp_path, path=path)
        assert (done.returncode, done.stderr.splitlines()[-1]) == (1, 'torch is imported')

    def test_files_that_cannot_be_read_and_wrong_arguments(self, path, tmp_path):
        train = ('-m', 'deeprftv2_arch.train')
        done = python(*train, '-opt', 'nowhere.yml', folder=tmp_path, path=path)
        assert (done.returncode, done.stderr) == (
            2,
            'Error: Cannot read the option file nowhere.yml: No such file or directory.\n',
        )
        assert python(*train, folder=tmp_path, path=path).returncode == 2
        assert python(*train, '--help', folder=tmp_path, path=path).returncode == 0

    def test_other_programs_register_at_once(self, path, tmp_path):
        (tmp_path / 'train.py').write_text('import deeprftv2_arch\n')
        for program in (('-c', 'import deeprftv2_arch'), ('train.py',), ('-m', 'deeprftv2_arch', 'convert')):
            done = python(*program, folder=tmp_path, path=path)
            assert (done.returncode, done.stderr.splitlines()[-1]) == (1, 'torch is imported')


class Driver:
    """Stands in for the library of NVIDIA's driver on a machine with two GPUs."""

    def __init__(self, name: str, *_: Any) -> None:
        if name != 'libnvidia-ml.so.1':
            raise OSError(name)

    def nvmlInit(self) -> int:  # noqa: N802
        return 0

    nvmlInit_v2 = nvmlInit  # noqa: N815

    def nvmlDeviceGetCount_v2(self, number: Any) -> int:  # noqa: N802
        number._obj.value = 2
        return 0


@pytest.mark.parametrize(
    'listed', [None, '', '0', '1', '0,1', '1,0', '0,0', '0,5', '5,0', '0,5,5', ' 1 ', '0,-1', 'GPU-1']
)
def test_gpus_are_counted_as_torch_does(listed, monkeypatch, tmp_path):
    """The other side is what `torch.cuda.device_count` asks."""
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if listed is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', listed)
    monkeypatch.setattr('ctypes.CDLL', Driver)
    monkeypatch.setattr(torch.version, 'hip', None)
    (tmp_path / 'version.py').write_text("cuda = '13.0'\nhip = None\n")
    monkeypatch.setattr('deeprftv2_arch.config.gpus.package_folder', lambda name: tmp_path)
    number = count_gpus()
    if listed in ('0,-1', 'GPU-1'):
        assert number is None  # torch is asked then
    else:
        assert number == torch.cuda._device_count_nvml()


@pytest.mark.parametrize(
    ('version', 'number'),
    [
        ("cuda: Optional[str] = '13.2'\nhip: Optional[str] = None\n", 2),
        ("cuda = '11.8'\nhip = None\n", 2),
        ('cuda: Optional[str] = None\nhip: Optional[str] = None\n', 0),
        ("cuda: Optional[str] = None\nhip: Optional[str] = '6.0'\n", None),
        ('', None),
    ],
)
def test_gpus_count_where_torch_is_built_for_them(version, number, monkeypatch, tmp_path):
    (tmp_path / 'version.py').write_text(version)
    monkeypatch.setattr('deeprftv2_arch.config.gpus.package_folder', lambda name: tmp_path)
    monkeypatch.setattr('ctypes.CDLL', Driver)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert count_gpus() == number


def test_gpus_of_this_machine():
    assert count_gpus() == torch.cuda.device_count()


def test_an_unknown_number_of_gpus_is_a_doubt(monkeypatch):
    monkeypatch.setattr('deeprftv2_arch.config.sources.count_gpus', lambda: None)
    read = Sources()
    assert read.count_gpus() == 0
    assert read.doubts == ['torch alone can tell the number of GPUs.']
