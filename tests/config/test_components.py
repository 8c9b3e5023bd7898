"""What an option file may name: as it is registered, and as it is on file before torch and BasicSR are imported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import basicsr
import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY
from processes import ROOT, error_lines, python, stock_options

from deeprftv2_arch.config import components
from deeprftv2_arch.config.components import as_json, component_of, names_on_file, refusal, registered
from deeprftv2_arch.config.load import read_checked
from deeprftv2_arch.config.options import fields, option, schemas, words
from deeprftv2_arch.config.problems import OptionsError
from deeprftv2_arch.config.schema import DatasetOptions, PairedDeblurOptions
from deeprftv2_arch.data import PairedDeblurDataset
from deeprftv2_arch.utils.errors import UserError


def test_the_names_on_file_are_those_that_are_registered():
    written = components.NAMES.read_text(encoding='utf-8')
    assert written == as_json(), 'Make it anew: deeprftv2 options --names > deeprftv2_arch/config/names.json'


def test_sections_from_the_file_are_those_of_the_classes():
    on_file = names_on_file()
    for kind, names in registered().items():
        for name in on_file[kind]:
            for make in (lambda c: c.arguments_section(['img']), lambda c: c.section(DatasetOptions)):
                live, written = make(names[name]), make(on_file[kind][name])
                assert list(fields(live)) == list(fields(written))
                described = [
                    {key: words(value) for key, value in schemas(section).items()} for section in (live, written)
                ]
                assert described[0] == described[1], name


def test_other_sources_than_those_on_file_are_not_judged_early(tmp_path, monkeypatch):
    (tmp_path / 'run.yml').write_text('nam: x\n')
    with pytest.raises(OptionsError):
        read_checked(tmp_path / 'run.yml', is_train=True, early=True)
    monkeypatch.setattr(components.metadata, 'version', lambda name: '2.0.0')
    assert names_on_file() is None
    assert read_checked(tmp_path / 'run.yml', is_train=True, early=True).options == {'nam': 'x'}


class Net:
    """Do something.

    Args:
        copy: What is copied, which is the name of
            a method of pydantic too.
        json, schema: Others.
    """

    def __init__(self, copy: int | None, json: bool = True, *, schema: float = 1.0, **others: Any) -> None: ...


def test_arguments_may_be_called_as_methods_of_pydantic_are():
    section = component_of(Net).arguments_section()
    assert list(fields(section)) == ['type', 'copy', 'json', 'schema']
    assert fields(section)['copy'].description == 'What is copied, which is the name of a method of pydantic too.'
    assert section.model_validate({'type': 'Net', 'copy': [], 'more': 1})  # foreign annotations may be wrong


class ShiftedOptions(PairedDeblurOptions):
    """Pairs with an offset."""

    shift: int = option('Offset in pixels.', 0)


class ShiftedDataset(PairedDeblurDataset):
    """What a plugin does to have an option of its own."""

    Options: ClassVar[type[PairedDeblurOptions]] = ShiftedOptions


def test_a_registered_class_declares_its_options(write_pairs, training_options, tmp_path):
    if 'ShiftedDataset' not in DATASET_REGISTRY:
        DATASET_REGISTRY.register(ShiftedDataset)
    options = json.loads(json.dumps(training_options(write_pairs())))
    options['datasets']['train'] |= {'type': 'ShiftedDataset', 'shift': 3}
    file = tmp_path / 'run.yml'
    file.write_text(yaml.safe_dump(options))
    read_checked(file, is_train=True)
    opt = {**options['datasets']['train'], 'phase': 'train'}
    assert ShiftedDataset(opt).options.shift == 3

    options['datasets']['train'] |= {'shift': 'far', 'shfit': 2}
    file.write_text(yaml.safe_dump(options))
    with pytest.raises(OptionsError) as raised:
        read_checked(file, is_train=True)
    with pytest.raises(UserError) as of_the_class:
        ShiftedDataset({**opt, 'shift': 'far', 'shfit': 2})
    for error in (raised.value, of_the_class.value):
        assert "shift: expected a whole number, got 'far'." in str(error)
        assert "shfit: unknown key for ShiftedDataset (did you mean 'shift'?)." in str(error)


def test_a_plugin_of_basicsr_passes_in_the_end(tmp_path):
    """A file in a checkout's folder of networks that imports someone's package, which registers its own there."""
    site = tmp_path / 'site'
    shutil.copytree(Path(basicsr.__file__).parent, site / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    (site / 'basicsr' / 'archs' / 'plugin_arch.py').write_text('import plugin\n')
    (site / 'plugin.py').write_text(
        'from basicsr.utils.registry import ARCH_REGISTRY\nfrom torch import nn\n\n'
        '@ARCH_REGISTRY.register()\nclass Net(nn.Module):\n    pass\n'
    )
    options = stock_options(tmp_path, tmp_path)
    options['network_g'] = {'type': 'Net'}
    (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
    done = python('-m', 'deeprftv2_arch', 'options', 'run.yml', folder=tmp_path, path=[site, ROOT])
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, 'run.yml: nothing is wrong.'), done.stderr


class Unbuildable(torch.nn.Module):
    """A network whose constructor does with tensors what networks of others do, and what it is told."""

    def __init__(self, failure: str = '', width: int = 4) -> None:
        super().__init__()
        self.rates = [rate.item() for rate in torch.linspace(0, 1, width)]
        self.scale = torch.nn.Parameter(torch.FloatTensor(torch.rand(3)))
        self.body = torch.nn.Conv2d(3, width, 3)
        if failure:
            raise {'OSError': OSError, 'KeyError': KeyError, 'RuntimeError': RuntimeError}[failure](
                'no NVIDIA driver' if failure == 'RuntimeError' else 'no such thing'
            )


@pytest.fixture
def refusal_of(monkeypatch):
    """What `WithFKE` around that network says of its arguments."""
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'Unbuildable', Unbuildable)
    with_fke = component_of(ARCH_REGISTRY.get('WithFKE'))
    return lambda after='body', **network: refusal(
        with_fke, {'network': {'type': 'Unbuildable', **network}, 'after': after}
    )


class TestNetworksOfOthers:
    """What they do with tensors while they are built does not count, what it says of their arguments does."""

    def test_a_network_that_looks_into_its_tensors_is_taken(self, refusal_of):
        state = torch.get_rng_state()
        assert refusal_of() == ''
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize('failure', ['OSError', 'RuntimeError'])
    def test_what_this_machine_lacks_is_no_matter_of_the_arguments(self, refusal_of, failure):
        assert refusal_of(failure=failure) == ''

    def test_arguments_that_cannot_be_are_told(self, refusal_of):
        assert refusal_of(failure='KeyError') == "it cannot be built or run (KeyError: 'no such thing')"
        assert refusal_of(width=-1).startswith('it cannot be built or run (RuntimeError: ')
        assert 'unexpected keyword argument' in refusal_of(widht=1)
        assert "no part 'bdoy'" in refusal_of(after='bdoy')

    @pytest.mark.parametrize(
        ('network', 'after'),
        [
            ({'type': 'SwinIR', 'img_size': 8, 'embed_dim': 8, 'depths': [1], 'num_heads': [2]}, 'conv_after_body'),
            ({'type': 'ECBSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_block': 1, 'num_channel': 4, 'with_idt': True,
              'act_type': 'prelu', 'scale': 2}, 'backbone.1'),
            ({'type': 'RIDNet', 'in_channels': 3, 'mid_channels': 4, 'out_channels': 3, 'num_block': 1}, 'body'),
        ],
    )  # fmt: skip
    def test_networks_of_basicsr(self, network, after):
        assert refusal(component_of(ARCH_REGISTRY.get('WithFKE')), {'network': network, 'after': after}) == ''


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
    def test_all_mistakes_are_named(self, good, path, tmp_path, command):
        wrong = {**good, 'val': {**good['val'], 'save_imag': True}, 'nam': 'x'}
        wrong['network_g'] = {'type': 'DeepRFTv2', 'num_blocks': 'x', 'widht': 4}
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
