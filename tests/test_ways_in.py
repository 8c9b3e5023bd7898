"""The ways into the package, each as a user goes it; the attached checkout is in `test_attach.py`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import basicsr
import pytest
import torch
import yaml
from processes import BASICSR_BUILDS, ROOT, TIMEOUT, error_lines, free_port, python, stock_options, variables

import deeprftv2_arch

pytestmark = pytest.mark.slow

COPIED = ('basicsr', 'deeprftv2_arch', 'options', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE')


@pytest.fixture(scope='session')
def copy(tmp_path_factory) -> Path:
    """A copy of this repository, which no installation of the package knows of."""
    copy = tmp_path_factory.mktemp('repository')
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name)  # with what is compiled, so that nothing is compiled twice
        else:
            shutil.copy(ROOT / name, copy)
    return copy


@pytest.fixture(scope='session')
def site(copy, tmp_path_factory) -> Path:
    """A folder that the copy is installed into, by `pip install .`."""
    source = tmp_path_factory.mktemp('source') / 'repository'
    shutil.copytree(copy, source)
    site = tmp_path_factory.mktemp('site')
    flags = ('--quiet', '--no-deps', '--no-build-isolation', '--target', site)
    done = python('-m', 'pip', 'install', *flags, '.', folder=source, path=[])
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return site


@pytest.fixture
def options(write_pairs, tmp_path):
    """Two option files of a stock network: `train.yml` and `test.yml`."""
    folders = write_pairs()
    for kind in ('train', 'test'):
        options = stock_options(folders.lq, folders.gt, kind)
        if kind == 'test':
            options['path']['pretrain_network_g'] = 'experiments/stock/models/net_g_latest.pth'
        (tmp_path / f'{kind}.yml').write_text(yaml.safe_dump(options))
    return tmp_path


def versions(process: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in process.stdout.splitlines() if line.startswith('deeprftv2_arch ')]


def in_use(package: Path, build: str | None = None) -> list[str]:
    """What a start must say."""
    folder = Path(build, 'basicsr') if build else Path(basicsr.__file__).parent
    version = f'deeprftv2_arch {deeprftv2_arch.__version__} ({package / "deeprftv2_arch"})'
    return [f'{version}, basicsr 1.4.2 ({folder}), torch {torch.__version__}']


@pytest.mark.parametrize('build', BASICSR_BUILDS)
def test_from_the_root_of_the_repository(copy, options, build):
    # Nothing of ours is on the path here: the launchers must find the package beside them.
    for kind in ('train', 'test'):
        (copy / 'options' / f'stock_{kind}.yml').write_text((options / f'{kind}.yml').read_text())
    try:
        arguments = ('-opt', 'options/stock_train.yml')
        trained = python('basicsr/train.py', *arguments, folder=copy, path=[build])
        assert trained.returncode == 0, trained.stderr
        assert versions(trained) == in_use(copy, build)
        assert (copy / 'experiments' / 'stock' / 'models' / 'net_g_latest.pth').is_file()
        assert len(list((copy / 'tb_logger' / 'stock').iterdir())) == 1

        tested = python('basicsr/test.py', '-opt', 'options/stock_test.yml', folder=copy, path=[build])
        assert tested.returncode == 0, tested.stderr
        assert versions(tested) == in_use(copy, build)
        assert re.search(r'# psnr: \d+\.\d+', tested.stderr)
        assert len(list((copy / 'results' / 'stock' / 'visualization' / 'photos').glob('*.png'))) == 4
    finally:
        for name in ('experiments', 'results', 'tb_logger'):
            shutil.rmtree(copy / name, ignore_errors=True)


NETWORK = """
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn


@ARCH_REGISTRY.register()
class Mine(nn.Conv2d):
    def __init__(self, width):
        super().__init__(3, 3, width)
"""


def test_a_script_of_ones_own(options):
    """The one of docs/basicsr.md, with a network that no source file of BasicSR or of ours has."""
    page = (ROOT / 'docs' / 'basicsr.md').read_text()
    (options / 'mine.py').write_text(re.search(r'```python\n(.*?)```', page, flags=re.DOTALL)[1])
    (options / 'my_networks.py').write_text(NETWORK)
    mine = ('mine.py', '-opt', 'train.yml', '--set', 'train.total_iter=1')
    trained = python(*mine, 'network_g={type: Mine, width: 1}', folder=options)
    assert trained.returncode == 0, trained.stderr
    assert (options / 'experiments' / 'stock' / 'models' / 'net_g_latest.pth').is_file()
    (line,) = error_lines(python(*mine, 'network_g={type: Mine, widht: 1}', folder=options))
    assert line.endswith("network_g.widht: unknown key for Mine (did you mean 'width'?).")


EDITABLE = """
import importlib.machinery
import importlib.util
import os
import sys

find, site = importlib.machinery.PathFinder.find_spec, {site!r}


def without_basicsr(name, path=None, target=None):
    entries = [entry for entry in sys.path if entry != site] if name == 'basicsr' else path
    return find(name, entries, target)


class Editable:
    @staticmethod
    def find_spec(name, path=None, target=None):
        file = os.path.join(site, name, '__init__.py')
        return importlib.util.spec_from_file_location(name, file) if name == 'basicsr' else None


importlib.machinery.PathFinder.find_spec = without_basicsr
sys.meta_path.append(Editable)
"""
"""A start-up file of Python: BasicSR is where `pip install -e` of a checkout would have it."""


@pytest.mark.parametrize('script', [True, False])
def test_basicsr_in_editable_mode(copy, options, tmp_path, script):
    (tmp_path / 'editable').mkdir()
    build = str(Path(basicsr.__file__).parents[1])
    (tmp_path / 'editable' / 'sitecustomize.py').write_text(EDITABLE.format(site=build))
    start = ('basicsr/train.py',) if script else ('-m', 'deeprftv2_arch.train')
    wrong = ('-opt', options / 'train.yml', '--set', 'network_g.type=EDSRR')
    trained = python(*start, *wrong, folder=copy, path=[tmp_path / 'editable'])
    (line,) = error_lines(trained)
    assert line.endswith("nothing is registered under the name 'EDSRR' (did you mean 'EDSR'?).")
    try:
        right = ('-opt', options / 'train.yml', '--set', 'train.total_iter=1')
        trained = python(*start, *right, folder=copy, path=[tmp_path / 'editable'])
        assert trained.returncode == 0, trained.stderr
        assert versions(trained) == in_use(copy, build)
    finally:
        for name in ('experiments', 'results', 'tb_logger'):
            shutil.rmtree(copy / name, ignore_errors=True)


class TestGoPro:
    """The two commands of the README, word for word."""

    TRAIN = ('basicsr/train.py', '-opt', 'options/train_gopro.yml')
    TEST = ('basicsr/test.py', '-opt', 'options/test_gopro.yml')
    SMALL = ('network_g:width=4', 'network_g:num_blocks=[1,1,1]')

    @pytest.mark.parametrize('command', [TRAIN, TEST], ids=['train', 'test'])
    def test_without_the_data(self, copy, command):
        done = python(*command, folder=copy, path=[])
        assert done.returncode == 2
        split = 'train' if command is self.TRAIN else 'test'
        folder = copy / 'datasets' / 'GoPro' / split / 'sharp'
        assert f'datasets.{split}.dataroot_gt: there is no folder {folder}' in done.stderr
        assert all(': there is no f' in line for line in error_lines(done))
        assert not {'experiments', 'results', 'tb_logger'} & {path.name for path in copy.iterdir()}

    def test_with_data_of_the_same_layout(self, copy, tmp_path, write_pairs):
        shutil.copytree(copy, tmp_path / 'repository')
        for split, count in (('train', 3), ('test', 2)):
            shutil.copytree(write_pairs(split, count=count).lq.parent, tmp_path / f'repository/datasets/GoPro/{split}')
        short = ('train:total_iter=2', 'train:stages=[{gt_size: 32, total_batch: 2, iterations: 2}]')
        short += ('logger:print_freq=1', 'datasets:train:num_worker_per_gpu=0', 'num_gpu=0')
        folder = tmp_path / 'repository'
        trained = python(*self.TRAIN, '--force_yml', *short, *self.SMALL, folder=folder, path=[])
        assert trained.returncode == 0, trained.stderr
        assert re.search(r'iter: +2, .*l_total: \d', trained.stderr)
        tested = python(*self.TEST, '--force_yml', 'num_gpu=0', *self.SMALL, folder=folder, path=[])
        assert tested.returncode == 0, tested.stderr
        assert re.search(r'# psnr: \d+\.\d+.*\n.*# ssim_3d: 0\.\d+', tested.stderr)
        pictures = folder.glob('results/DeepRFTv2-B_GoPro/visualization/GoPro-test/*.png')
        assert sorted(path.name.split('_')[0] for path in pictures) == ['000', '001']


def test_installed(site, options):
    before = sorted(site.rglob('*.py'))
    trained = python('-m', 'deeprftv2_arch.train', '-opt', 'train.yml', folder=options, path=[site])
    assert trained.returncode == 0, trained.stderr
    assert versions(trained) == in_use(site)
    tested = python('-m', 'deeprftv2_arch.test', '-opt', 'test.yml', folder=options, path=[site])
    assert tested.returncode == 0, tested.stderr
    assert versions(tested) == in_use(site)
    assert {path.name for path in options.iterdir()} >= {'experiments', 'results', 'tb_logger'}
    assert sorted(site.rglob('*.py')) == before
    assert not list(site.glob('experiments')) + list(site.glob('results'))


def test_the_installation_holds_the_package_alone(site):
    assert sorted(path.name for path in site.iterdir() if not path.name.endswith('.dist-info')) == [
        'bin',
        'deeprftv2_arch',
    ]
    for source in (ROOT / 'deeprftv2_arch').rglob('*.py'):
        assert (site / source.relative_to(ROOT)).is_file()


TORCHRUN = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')


@pytest.mark.parametrize('build', BASICSR_BUILDS)
def test_two_processes_on_a_cpu(options, build):
    if build is None:
        start = (*TORCHRUN, '-m', 'deeprftv2_arch.train')
    else:  # what torchrun replaced; torch still has it, and it passes --local-rank
        start = ('-m', 'torch.distributed.launch', '--nproc_per_node=2', f'--master_port={free_port()}')
        start += (ROOT / 'deeprftv2_arch' / 'train.py',)
        change(options / 'train.yml', lambda options: options['datasets']['train'].update(num_worker_per_gpu=0))
    trained = python(*start, '-opt', 'train.yml', '--launcher', 'pytorch', folder=options, path=[ROOT, build])
    assert trained.returncode == 0, trained.stderr
    assert versions(trained) == in_use(ROOT, build)
    assert 'World size (gpu number): 2' in trained.stderr
    assert 'iter:       4' in trained.stderr
    weights = torch.load(options / 'experiments' / 'stock' / 'models' / 'net_g_4.pth')['params']
    assert all(value.isfinite().all() for value in weights.values())


SCONTROL = """#!/bin/sh
[ "$*" = "show hostnames node[1-2]" ] && printf '127.0.0.1\\nnode2\\n'
"""


def test_two_processes_of_slurm(options, tmp_path):
    """With what Slurm sets in the environment of each task, and a program of the name of Slurm's own."""
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'scontrol').write_text(SCONTROL)
    (tmp_path / 'bin' / 'scontrol').chmod(0o755)
    port = free_port()
    change(options / 'train.yml', lambda options: options.update(dist_params={'backend': 'nccl', 'port': port}))
    change(options / 'train.yml', lambda options: options['datasets']['train'].update(num_worker_per_gpu=0))
    slurm = {'SLURM_NTASKS': '2', 'SLURM_NODELIST': 'node[1-2]', 'SLURM_LOCALID': '0'}
    tasks = [
        subprocess.Popen(
            [sys.executable, '-m', 'deeprftv2_arch.train', '-opt', 'train.yml', '--launcher', 'slurm'],
            cwd=options,
            env=variables(PATH=f'{tmp_path / "bin"}:{os.environ["PATH"]}', SLURM_PROCID=str(rank), **slurm),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [task.communicate(timeout=TIMEOUT) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], said
    assert 'World size (gpu number): 2' in said[0][1]
    assert 'deeprftv2_arch' in said[0][0]
    assert said[1] == ('', '')
    assert (options / 'experiments' / 'stock' / 'training_states' / '4.state').is_file()


def test_two_processes_tell_a_mistake_once(options):
    change(options / 'train.yml', lambda options: options['network_g'].update(type='EDSRR'))
    start = (*TORCHRUN, '-m', 'deeprftv2_arch.train')
    done = python(*start, '-opt', 'train.yml', '--launcher', 'pytorch', folder=options)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if line.startswith('Error: ')]
    (error,) = errors
    assert error.startswith('Error: train.yml:')
    assert error.endswith(": network_g.type: nothing is registered under the name 'EDSRR' (did you mean 'EDSR'?).")
    assert not (options / 'experiments').exists()


def test_torchrun_is_asked_to_stop(options):
    # It hands the signal on to the process groups of its processes.
    command = [sys.executable, *TORCHRUN, '-m', 'deeprftv2_arch.train', '-opt', 'train.yml', '--launcher', 'pytorch']
    with subprocess.Popen(
        [*command, '--set', 'train.total_iter=1000000', 'val.val_freq=1000000'],
        cwd=options,
        env=variables(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as training:
        for line in training.stderr:
            if 'Saving models' in line:
                training.send_signal(signal.SIGTERM)
                break
        said = training.stderr.read()
    (last,) = re.findall('^Stopped after iteration (\\d+), which is saved', said, flags=re.MULTILINE)
    assert (options / 'experiments' / 'stock' / 'training_states' / f'{last}.state').is_file()
    assert 'exited unexpectedly' not in said
    assert '[rank' not in said


def test_interrupt_and_resume(options):
    """Stopped by either signal, and gone on with after each."""
    command = ['-m', 'deeprftv2_arch.train', '-opt', 'train.yml']
    states = options / 'experiments' / 'stock' / 'training_states'
    last = 0
    for number in (signal.SIGINT, signal.SIGTERM):
        more = ('--auto_resume',) if last else ()
        with subprocess.Popen(
            [sys.executable, *command, *more, '--force_yml', 'train:total_iter=1000000', 'val:val_freq=1000000'],
            cwd=options,
            env=variables(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as training:
            said = ''
            for line in training.stderr:  # is read to its end, so that the training never waits for us
                said += line
                if 'Saving models' in line and any(int(state.stem) > last for state in states.glob('*.state')):
                    os.killpg(training.pid, number)  # with its workers, as a terminal or a service manager does
                    break
            said += training.stderr.read()
        assert training.returncode == 0
        assert 'Traceback' not in said
        assert not list(options.rglob('*.part'))
        assert last == 0 or f'Resuming training from epoch: 0, iter: {last}.' in said
        last = max(int(state.stem) for state in states.iterdir())
        assert said.splitlines()[-1] == f'Stopped after iteration {last}, which is saved. Add --auto_resume to go on.'

    total = f'train:total_iter={last + 2}'
    resumed = python(*command, '--auto_resume', '--force_yml', total, folder=options)
    assert resumed.returncode == 0, resumed.stderr
    assert f'Resuming training from epoch: 0, iter: {last}.' in resumed.stderr
    assert (states / f'{last + 2}.state').is_file()
    assert [folder.name for folder in (options / 'experiments').iterdir()] == ['stock']


def test_import(tmp_path, record_property, capsys):
    # BasicSR first, with a stand-in for what torchvision removed, so that what follows is ours alone.
    script = (
        'import sys, types, time, json\n'
        'name = "torchvision.transforms.functional_tensor"\n'
        'sys.modules[name] = types.ModuleType(name)\n'
        'sys.modules[name].rgb_to_grayscale = None\n'
        'import basicsr\n'
        'before, start = set(sys.modules), time.perf_counter()\n'
        'import deeprftv2_arch\n'
        'seconds = time.perf_counter() - start\n'
        'from basicsr.utils import registry\n'
        'names = [name for value in vars(registry).values() if isinstance(value, registry.Registry)\n'
        '         for name, thing in value if thing.__module__.startswith("deeprftv2_arch")]\n'
        'print(json.dumps([seconds, sorted(set(sys.modules) - before), names]))\n'
    )
    done = python('-c', script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    seconds, modules, names = json.loads(done.stdout.splitlines()[-1])
    record_property('seconds', seconds)
    with capsys.disabled():
        print(f'\nimport deeprftv2_arch takes {seconds:.2f} s beyond import basicsr')
    foreign = {name for name in modules if not name.startswith(('deeprftv2_arch', 'basicsr'))}
    heavy = ('numba', 'llvmlite', 'scipy.signal', 'scipy.optimize', 'matplotlib', 'skimage', 'pandas', 'lpips', 'mamba')
    assert not [name for name in foreign if name.startswith(heavy)]
    assert {'DeepRFTv2', 'PairedDeblurDataset', 'FrequencyLoss', 'DeblurModel'} <= set(names)


def test_without_basicsr(copy, tmp_path):
    # An interpreter that sees torch but no BasicSR: our own folder of that name must not pass for it.
    script = (
        'import sys, importlib.machinery as m\n'
        'find = m.PathFinder.find_spec\n'
        'm.PathFinder.find_spec = staticmethod(lambda name, *rest: None if (spec := find(name, *rest)) and name == '
        '"basicsr" and spec.origin else spec)\n'
        'import deeprftv2_arch\n'
    )
    done = python('-c', script, folder=copy, path=[copy])
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith('ImportError: BasicSR is not installed. Try: pip install')


def change(file: Path, edit) -> None:
    options = yaml.safe_load(file.read_text())
    edit(options)
    file.write_text(yaml.safe_dump(options))
