"""Each fault of BasicSR, shown on its own function, and gone with ours in its place."""

from __future__ import annotations

import logging
import os
import sys
import time
from importlib import reload
from itertools import islice
from pathlib import Path

import basicsr.train
import cv2
import numpy as np
import pytest
import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import PrefetchGenerator
from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_env_info, options
from processes import FIXED, ROOT, python

import deeprftv2_arch
from deeprftv2_arch.basicsr_compat import patches as patches
from deeprftv2_arch.checkpoints import io as checkpoint
from deeprftv2_arch.checkpoints.training_start import TrainingStart, set_training_start
from deeprftv2_arch.config.schema import OPTIMIZERS
from deeprftv2_arch.utils.errors import UserError

RELEASED = 'functional_tensor' in Path(basicsr.__file__).with_name('data').joinpath('degradations.py').read_text()
"""Whether BasicSR at hand is 1.4.2 as released, or its master."""

without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason='shows what happens without CUDA')


def test_all_patches_are_applied_where_they_are_needed():
    everywhere = {
        *(
            'init_dist',
            'ddp_on_cpu',
            'saving',
            'loading',
            'prefetch',
            'stray_files',
            'last_iteration',
            'local_rank',
            'wrapped_network',
            'resume',
            'batches',
        ),
    }
    released = {'functional_tensor', 'optimizers'}
    assert set(patches.applied) - {'distutils'} == everywhere | (released if RELEASED else set())


@pytest.mark.skipif(not FIXED, reason='DEEPRFTV2_ARCH_BASICSR_FIXED names no basicsr-fixed')
@pytest.mark.slow
def test_all_of_this_with_basicsr_fixed(tmp_path):
    done = python(
        *('-m', 'pytest', '-q', '-p', 'no:xdist', '-p', 'no:cacheprovider', Path(__file__)),
        folder=ROOT,
        path=[ROOT, FIXED],
        DEEPRFTV2_ARCH_BASICSR_FIXED='',
        PYTEST_ADDOPTS='',
    )
    assert done.returncode == 0, done.stdout
    assert ' failed' not in done.stdout
    assert ' passed' in done.stdout


def test_a_second_import_or_a_reload_changes_nothing():
    before = list(patches.applied), BaseModel.save_network, options.parse_options, basicsr.train.load_resume_state
    reload(deeprftv2_arch)
    assert before == (patches.applied, BaseModel.save_network, options.parse_options, basicsr.train.load_resume_state)


@pytest.mark.skipif(not RELEASED, reason='is about basicsr as released')
class TestImport:
    """In a new process, for here BasicSR is imported already."""

    def test_functional_tensor(self, tmp_path):
        script = 'import deeprftv2_arch; from basicsr.data.degradations import rgb_to_grayscale; print("imported")'
        without = python('-c', script, folder=tmp_path, DEEPRFTV2_ARCH_DISABLE_PATCHES='functional_tensor')
        assert "No module named 'torchvision.transforms.functional_tensor'" in without.stderr
        patched = python('-c', script, folder=tmp_path)
        assert patched.stdout.split() == ['imported'], patched.stderr

    def test_distutils(self, tmp_path):
        # Python 3.12 without setuptools, played by a finder that knows of neither.
        script = (
            'import sys, importlib.abc\n'
            'class Gone(importlib.abc.MetaPathFinder):\n'
            '    def find_spec(self, name, path=None, target=None):\n'
            '        if name.startswith(("distutils", "setuptools", "_distutils_hack")):\n'
            '            raise ModuleNotFoundError(f"No module named {name!r}", name=name)\n'
            'sys.modules.pop("distutils", None)\n'
            'sys.meta_path.insert(0, Gone())\n'
            'import importlib.util\n'
            'find_spec = importlib.util.find_spec\n'
            'importlib.util.find_spec = lambda name: None if name == "distutils" else find_spec(name)\n'
            'import deeprftv2_arch\n'
            'from basicsr.archs.arch_util import LooseVersion\n'
            'print(LooseVersion("0.10.0+cu132") >= LooseVersion("0.9.0"))\n'
        )
        without = python('-c', script, folder=tmp_path, DEEPRFTV2_ARCH_DISABLE_PATCHES='distutils')
        assert "No module named 'distutils" in without.stderr
        patched = python('-c', script, folder=tmp_path)
        assert patched.stdout.split() == ['True'], patched.stderr


class TestOptimizers:
    PARAMETERS = (torch.nn.Parameter(torch.zeros(1)),)

    @pytest.mark.skipif(not RELEASED, reason='the master knows them')
    def test_fault(self):
        with pytest.raises(NotImplementedError, match='AdamW'):
            BaseModel.get_optimizer.original(None, 'AdamW', self.PARAMETERS, 1e-3)

    @pytest.mark.parametrize('kind', OPTIMIZERS)
    def test_patched(self, kind):
        optimizer = BaseModel.get_optimizer(None, kind, self.PARAMETERS, 1e-3)
        assert type(optimizer) is getattr(torch.optim, kind)
        assert optimizer.param_groups[0]['lr'] == 1e-3

    @pytest.mark.skipif(not RELEASED, reason='the master has a message of its own')
    def test_unknown(self):
        with pytest.raises(UserError, match=r"no optimizer 'Adamw'.* AdamW"):
            BaseModel.get_optimizer(None, 'Adamw', self.PARAMETERS, 1e-3)


@pytest.fixture
def model(tmp_path):
    """A model of BasicSR with one layer, and folders to save it to."""
    folders = {name: tmp_path / name for name in ('models', 'training_states')}
    for folder in folders.values():
        folder.mkdir()
    opt = {'num_gpu': 0, 'is_train': True, 'dist': False, 'path': folders, 'train': {'total_iter': 10}}
    model = BaseModel(opt)
    model.net = torch.nn.Linear(2, 1)
    model.optimizers = [torch.optim.AdamW(model.net.parameters())]
    return model


class TestSaving:
    def save(self, model, original=False):
        save_network = BaseModel.save_network.original if original else BaseModel.save_network
        save_network(model, model.net, 'net_g', 5)
        return Path(model.opt['path']['models'], 'net_g_5.pth')

    def test_whole(self, model):
        path = self.save(model)
        assert torch.equal(torch.load(path)['params']['weight'], model.net.weight)
        model.save_training_state(1, 5)
        state = torch.load(Path(model.opt['path']['training_states'], '5.state'))
        assert (state['epoch'], state['iter'], len(state['optimizers']), state['schedulers']) == (1, 5, 1, [])
        model.save_network([model.net, model.net], 'net_g', -1, ['params', 'params_ema'])
        assert set(torch.load(path.with_name('net_g_latest.pth'))) == {'params', 'params_ema'}

    def test_disk_full(self, model, monkeypatch):
        monkeypatch.setattr(time, 'sleep', lambda _: None)
        Path(model.opt['path']['models']).rmdir()
        self.save(model, original=True)  # as if nothing had happened
        with pytest.raises(UserError, match=r'Cannot write .*net_g_5.pth'):
            self.save(model)

    def test_interrupted(self, model, monkeypatch):
        def torn(_, path):
            Path(path).write_bytes(b'half of a checkpoint')
            raise KeyboardInterrupt

        path = self.save(model)
        monkeypatch.setattr(torch, 'save', torn)
        with pytest.raises(KeyboardInterrupt):
            self.save(model)
        assert torch.load(path)['params'].keys() == {'weight', 'bias'}
        assert [file.name for file in path.parent.iterdir()] == ['net_g_5.pth']
        with pytest.raises(KeyboardInterrupt):
            self.save(model, original=True)
        with pytest.raises(UserError, match=r'net_g_5\.pth is not a checkpoint'):
            checkpoint.read_checkpoint(path)

    def test_a_moment_without_the_drive(self, model, monkeypatch):
        saves, save = [], torch.save

        def first_fails(content, path):
            saves.append(path)
            if len(saves) == 1:
                raise OSError('Stale file handle')
            save(content, path)

        monkeypatch.setattr(time, 'sleep', lambda _: None)
        monkeypatch.setattr(torch, 'save', first_fails)
        assert self.save(model).is_file()


class TestLoading:
    @pytest.fixture
    def path(self, model, tmp_path):
        path = tmp_path / 'net.pth'
        torch.save({'params': model.net.state_dict()}, path)
        return path

    def test_fits(self, model, path):
        net = torch.nn.Linear(2, 1)
        model.load_network(net, path)
        assert torch.equal(net.weight, model.net.weight)

    def test_another_network(self, model, path):
        net = torch.nn.Sequential(torch.nn.Linear(2, 1))
        with pytest.raises(RuntimeError, match=r'Error\(s\) in loading'):
            BaseModel.load_network.original(model, net, path)
        with pytest.raises(UserError, match=r'net.pth .* 2 missing: 0.weight, 0.bias; 2 unexpected: weight, bias'):
            model.load_network(net, path)
        with pytest.raises(
            UserError, match=r'2 wrongly shaped: weight \(1x2 instead of 4x3\), bias \(1 instead of 4\)'
        ):
            model.load_network(torch.nn.Linear(3, 4), path)

    def test_asked_not_to_be_strict(self, model, path):
        model.load_network(torch.nn.Linear(2, 5), path, strict=False)

    def test_data_parallel_and_ema_keys(self, model, path):
        torch.save({'params': {f'module.{k}': v for k, v in model.net.state_dict().items()}}, path)
        net = torch.nn.Linear(2, 1)
        model.load_network(net, path, param_key='params_ema')
        assert torch.equal(net.weight, model.net.weight)

    def test_another_key(self, model, path):
        torch.save({'state_dict': model.net.state_dict(), 'epoch': 3}, path)
        with pytest.raises(KeyError):
            BaseModel.load_network.original(model, model.net, path)
        with pytest.raises(
            UserError, match=r"under the key 'params'; it has 'state_dict', 'epoch'. Set path.param_key_g"
        ):
            model.load_network(model.net, path)


@pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning')
def test_prefetch_passes_an_exception_on():
    def images():
        yield 'image'
        raise OSError('truncated')

    class Faulty(PrefetchGenerator):
        run = PrefetchGenerator.run.original

    faulty, patched = Faulty(images(), 3), PrefetchGenerator(images(), 3)
    faulty.join(timeout=60)
    assert [faulty.queue.get_nowait(), faulty.queue.empty()] == ['image', True]  # next() would wait for ever
    assert next(patched) == 'image'
    with pytest.raises(OSError, match='truncated'):
        next(patched)
    assert list(PrefetchGenerator(iter('abc'), 1)) == ['a', 'b', 'c']


def test_files_beside_photographs_are_left_out_and_damaged_ones_named(tmp_path):
    for name in ('b.png', 'a.JPG'):
        cv2.imwrite(str(tmp_path / name), np.full((8, 9, 3), 7, np.uint8))
    for name in ('Thumbs.db', 'notes.txt'):
        (tmp_path / name).write_bytes(b'no image')
    options = {'io_backend': {'type': 'disk'}, 'dataroot_lq': str(tmp_path)}
    dataset = SingleImageDataset(options)
    assert [Path(dataset[index]['lq_path']).name for index in range(len(dataset))] == ['a.JPG', 'b.png']
    (tmp_path / 'b.png').write_bytes(b'damaged')
    with pytest.raises(UserError, match=r'b\.png: OpenCV cannot decode'):
        SingleImageDataset({**options, 'io_backend': {'type': 'disk'}})[1]
    for name in ('a.JPG', 'b.png'):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match='holds no images'):
        SingleImageDataset({**options, 'io_backend': {'type': 'disk'}})


def test_the_last_validation_counts_no_further_than_the_training(model):
    seen = []
    model.nondist_validation = lambda _, current_iter, *__: seen.append(current_iter)
    BaseModel.validation.original(model, None, 12, None)
    model.validation(None, 12, None)
    model.validation(None, 7, None)
    assert seen == [12, 10, 7]


class TestStart:
    @pytest.fixture
    def option_file(self, tmp_path):
        file = tmp_path / 'options.yml'
        file.write_text('{name: x, num_gpu: 0, datasets: {}, path: {}}')
        return file

    def test_local_rank(self, option_file, monkeypatch, capsys):
        arguments = ['train.py', '--local-rank=0', '-opt', str(option_file)]
        monkeypatch.setattr(sys, 'argv', list(arguments))
        basicsr_function = options.parse_options
        while hasattr(basicsr_function, 'original'):
            basicsr_function = basicsr_function.original
        with pytest.raises(SystemExit):
            basicsr_function('root')
        assert '--local-rank=0' in capsys.readouterr().err
        for spelt in (['--local-rank=0'], ['--local-rank', '0'], ['--local_rank=0']):
            monkeypatch.setattr(sys, 'argv', [arguments[0], *spelt, *arguments[2:]])
            assert basicsr.train.parse_options('root')[1].local_rank == 0

    def test_the_log_names_this_package(self):
        assert f'deeprftv2_arch {deeprftv2_arch.__version__} ({ROOT / "deeprftv2_arch"})' in get_env_info()
        assert 'PyTorch: ' in get_env_info()


class TestResume:
    @pytest.fixture
    def opt(self, tmp_path, monkeypatch):
        (tmp_path / 'elsewhere').mkdir()
        monkeypatch.chdir(tmp_path / 'elsewhere')
        experiment = tmp_path / 'experiments' / 'x'
        states = experiment / 'training_states'
        states.mkdir(parents=True)
        (experiment / 'models').mkdir()
        for iteration in (5, 10):
            state = {'epoch': 0, 'iter': iteration, 'optimizers': [torch.ones(2)], 'schedulers': []}
            torch.save(state, states / f'{iteration}.state')
            torch.save({'params': {}}, experiment / 'models' / f'net_g_{iteration}.pth')
        path = {'training_states': str(states), 'models': str(experiment / 'models'), 'resume_state': None}
        return {'name': 'x', 'auto_resume': False, 'network_g': {}, 'path': path, 'train': {'total_iter': 10}}

    @without_cuda
    def test_without_cuda(self, opt):
        opt['path']['resume_state'] = os.path.join(opt['path']['training_states'], '5.state')
        with pytest.raises((AssertionError, RuntimeError), match=r'CUDA|NVIDIA'):
            basicsr.train.load_resume_state.original(opt)
        state = basicsr.train.load_resume_state(opt)
        assert state['iter'] == 5
        assert state['optimizers'][0].device.type == 'cpu'
        assert opt['path']['pretrain_network_g'] == os.path.join(opt['path']['models'], 'net_g_5.pth')

    def test_auto_resume_from_another_folder(self, opt):
        opt['auto_resume'] = True
        assert basicsr.train.load_resume_state.original(opt) is None
        assert basicsr.train.load_resume_state(opt)['iter'] == 10

    def test_a_state_that_is_left_aside_is_told(self, opt, capsys):
        opt['auto_resume'] = True
        newest = os.path.join(opt['path']['training_states'], '10.state')
        for path, is_told in ((newest, False), (os.path.join(opt['path']['training_states'], '5.state'), True)):
            opt['path']['resume_state'] = path
            assert basicsr.train.load_resume_state(opt)['iter'] == 10
            told = f'Warning: --auto_resume goes on from {newest}, and path.resume_state: {path} is not used.\n'
            assert capsys.readouterr().err == (told if is_told else '')

    def test_a_state_counts_where_auto_resume_finds_none(self, opt):
        opt['auto_resume'] = True
        opt['path'] |= {'resume_state': opt['path']['training_states'] + '/5.state', 'training_states': 'nowhere'}
        with pytest.raises(UserError, match='is of another experiment'):
            basicsr.train.load_resume_state(opt)

    def test_nothing_to_resume(self, opt):
        assert basicsr.train.load_resume_state(opt) is None
        opt['auto_resume'], opt['path']['training_states'] = True, 'nowhere'
        assert basicsr.train.load_resume_state(opt) is None

    def test_missing_state(self, opt):
        opt['path']['resume_state'] = 'gone.state'
        with pytest.raises(UserError, match=r'gone\.state'):
            basicsr.train.load_resume_state(opt)


class TestBatches:
    @pytest.fixture
    def opt(self, write_pairs):
        folders = write_pairs()
        data = {'name': 'photos', 'phase': 'train', 'dataroot_lq': str(folders.lq), 'dataroot_gt': str(folders.gt)}
        data |= {'type': 'PairedDeblurDataset', 'gt_size': 16, 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 0}
        data |= {'dataset_enlarge_ratio': 2}
        machine = {'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1, 'manual_seed': 0}
        return {**machine, 'model_type': 'DeblurModel', 'datasets': {'train': data}, 'train': {'total_iter': 12}}

    @staticmethod
    def names(create, opt, count):
        """The images of the first batches that BasicSR's loop would get."""
        loader, sampler, *_ = create(opt, logging.getLogger('basicsr'))
        sampler.set_epoch(0)
        return [batch['lq_path'][0] for batch in islice(loader, count)]

    @staticmethod
    def resumed(opt):
        """The options of the training, resumed after three iterations."""
        options = dict(opt)
        set_training_start(options, TrainingStart(iteration=3))
        return options

    def test_fault(self, opt):
        create = basicsr.train.create_train_val_dataloader.original
        assert self.names(create, opt, 3) == self.names(create, self.resumed(opt), 3)

    def test_patched(self, opt):
        create = basicsr.train.create_train_val_dataloader
        assert self.names(create, opt, 8)[3:] == self.names(create, self.resumed(opt), 5)

    def test_other_models_keep_their_loader(self, opt):
        opt['model_type'] = 'SRModel'
        _, sampler, _, epochs, total = basicsr.train.create_train_val_dataloader(opt, logging.getLogger('basicsr'))
        assert type(sampler) is EnlargedSampler
        assert (epochs, total) == (2, 12)
