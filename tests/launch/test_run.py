"""How a run ends when something is wrong, and what it leaves on the disk."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import training_processes
import yaml
from basicsr.models.sr_model import SRModel
from basicsr.utils import logger as basicsr_logger
from processes import python, stock_options
from rights import obey_rights, skip_unless_rights_are_obeyed

from deeprftv2_arch.launch.error_messages import user_message
from deeprftv2_arch.launch.loader_workers import end_workers
from deeprftv2_arch.launch.run import launch
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.run_lock import RunLock


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    last_line: str


@pytest.fixture
def options(write_pairs) -> dict[str, Any]:
    folders = write_pairs()
    options = stock_options(folders.lq, folders.gt)
    options['datasets']['train']['num_worker_per_gpu'] = 0
    return options


@pytest.fixture
def train(tmp_path, monkeypatch, capsys) -> Callable[..., Ended]:
    """Train in this process."""
    monkeypatch.chdir(tmp_path)
    # BasicSR opens one log file in a process, and never closes it.
    monkeypatch.setattr(basicsr_logger, 'initialized_logger', {})
    monkeypatch.setattr(logging.getLogger('basicsr'), 'handlers', [])

    def run(options: dict[str, Any], *arguments: str) -> Ended:
        basicsr_logger.initialized_logger.clear()
        logging.getLogger('basicsr').handlers.clear()
        (tmp_path / 'run.yml').write_text(yaml.safe_dump(options))
        monkeypatch.setattr('sys.argv', ['train', '-opt', 'run.yml', *arguments])
        code = launch('train', tmp_path)
        said = capsys.readouterr().err
        assert 'Traceback' not in said
        return Ended(code, said.splitlines()[-1])

    return run


@pytest.fixture
def before(train, options, tmp_path) -> dict[Path, bytes]:
    """All files after a training that went well."""
    assert train(options).code == 0
    return files(tmp_path)


def files(folder: Path) -> dict[Path, bytes]:
    """What a run may write, and its contents."""
    below = [path for name in ('experiments', 'tb_logger') for path in (folder / name).rglob('*')]
    return {path: path.read_bytes() for path in below if path.is_file()}


def test_a_wrong_option_touches_nothing(before, train, options, tmp_path):
    options['network_g']['type'] = 'EDSRR'
    code, line = train(options)
    assert code == 2
    assert line.startswith('Error: run.yml:')
    assert line.endswith(": network_g.type: nothing is registered under the name 'EDSRR' (did you mean 'EDSR'?).")
    assert files(tmp_path) == before


def test_a_failure_while_the_run_is_set_up_is_undone(before, train, options, tmp_path):
    torch.save({'params': {'conv_first.weight': torch.zeros(1)}}, tmp_path / 'other.pth')
    options['path']['pretrain_network_g'] = 'other.pth'
    ended = train(options)
    assert ended.code == 2
    assert ended.last_line.startswith('Error: other.pth is not a checkpoint of this EDSR: 9 missing: ')
    # The last experiment is where it was, not in an archive beside an empty one.
    assert files(tmp_path) == before


def test_a_failure_without_anything_before_leaves_nothing(train, options, tmp_path):
    options['datasets']['train']['gt_size'] = 99
    ended = train(options)
    assert ended.code == 2
    assert ended.last_line.startswith('Error: LQ (40, 48) is smaller than patch size (99, 99).')
    assert files(tmp_path) == {}
    assert list((tmp_path / 'experiments').iterdir()) == []


def test_a_failure_of_a_resumed_run_leaves_its_experiment(before, train, options, tmp_path):
    options['datasets']['train']['gt_size'] = 99
    assert train(options, '--auto_resume', '--force_yml', 'train:total_iter=8').code == 2
    checkpoints = {path: content for path, content in before.items() if path.suffix in ('.pth', '.state')}
    assert len(checkpoints) == 5
    assert checkpoints.items() <= files(tmp_path).items()


def test_a_failure_after_an_iteration_leaves_the_log(train, options, tmp_path, monkeypatch):
    optimize = SRModel.optimize_parameters

    def fails_at_three(model, iteration):
        if iteration == 3:
            raise UserError('the third iteration fails')
        optimize(model, iteration)

    monkeypatch.setattr(SRModel, 'optimize_parameters', fails_at_three)
    assert train(options) == (2, 'Error: the third iteration fails')
    assert {path.suffix for path in files(tmp_path / '.')} >= {'.log', '.pth', '.state'}


@pytest.mark.parametrize('iteration', [1, 3])
def test_interrupted(train, options, tmp_path, monkeypatch, iteration):
    optimize = SRModel.optimize_parameters

    def interrupted(model, current):
        if current == iteration:
            raise KeyboardInterrupt
        optimize(model, current)

    monkeypatch.setattr(SRModel, 'optimize_parameters', interrupted)
    ended = train(options)
    if iteration == 1:
        assert ended == (130, 'Interrupted.')
        assert files(tmp_path) == {}
    else:
        assert ended == (130, 'Interrupted. Add --auto_resume to go on from the last checkpoint.')
        assert (tmp_path / 'experiments' / 'stock' / 'training_states' / '2.state').is_file()


def test_a_fault_of_the_program_keeps_its_traceback(train, options, monkeypatch):
    def broken(*_):
        raise RuntimeError('a bug')

    monkeypatch.setattr(SRModel, 'optimize_parameters', broken)
    with pytest.raises(RuntimeError, match='a bug'):
        train(options)


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('prefetch', [None, 'cpu'])
def test_a_key_that_is_missed_late(train, options, workers, prefetch):
    options['datasets']['train'] |= {'num_worker_per_gpu': workers, 'prefetch_mode': prefetch}
    del options['datasets']['train']['gt_size']
    code, line = train(options)
    assert code == 2
    assert line.startswith(
        "Error: The option file has no key 'gt_size', which is read by: gt_size = self.opt['gt_size']"
    )
    assert 'basicsr/data/paired_image_dataset.py, line ' in line


def test_an_assertion_of_basicsr(train, options, write_pairs):
    options['datasets']['train']['dataroot_lq'] = str(write_pairs('more', count=5).lq)
    code, line = train(options)
    assert code == 2
    assert line.startswith(
        'Error: lq and gt datasets have different number of images: 5, 4. (basicsr/data/data_util.py'
    )


def test_too_few_images_for_one_batch(train, options):
    options['datasets']['train'] |= {'batch_size_per_gpu': 5, 'dataset_enlarge_ratio': 1}
    code, line = train(options)
    assert code == 2
    assert line.startswith("Error: The data set 'photos' has 4 images, too few for one batch. Lower")


def test_no_images(train, options, tmp_path):
    for role in ('lq', 'gt'):
        (tmp_path / role).mkdir()
        options['datasets']['train'][f'dataroot_{role}'] = role
    code, line = train(options)
    assert code == 2
    assert line == "Error: The data set 'photos' has no images. Look into dataroot_gt: gt, dataroot_lq: lq."


def test_no_arguments(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr('sys.argv', ['train'])
    with pytest.raises(SystemExit) as ended:
        launch('train', tmp_path)
    assert ended.value.code == 2
    assert '--auto_resume' in capsys.readouterr().err


def test_an_exception_of_someone_else_is_not_explained():
    with pytest.raises(KeyError) as raised:
        {}['opt']
    assert user_message(raised.value) is None


def test_full_disk_wherever_it_is_met(tmp_path):
    with pytest.raises(OSError, match='No space left') as raised:
        Path('/dev/full').write_text('x')
    assert user_message(raised.value) == 'No space left on device. Make room, then go on: --auto_resume.'


@pytest.mark.parametrize('gt_size', [16, 99])
def test_a_log_without_room_is_not_what_is_told(train, options, monkeypatch, gt_size):
    def full(handler):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(logging.FileHandler, 'flush', full)
    options['datasets']['train']['gt_size'] = gt_size
    code, line = train(options)
    assert code == (0 if gt_size == 16 else 2)
    assert gt_size == 16 or line.startswith('Error: LQ (40, 48) is smaller than patch size (99, 99).')


def test_a_file_where_the_folder_should_be(train, options, tmp_path):
    (tmp_path / 'experiments').write_text('notes')
    ended = train(options)
    assert ended.code == 2
    assert f'{tmp_path / "experiments"}' in ended.last_line
    assert 'Correct the folder or its rights' in ended.last_line
    assert (tmp_path / 'experiments').read_text() == 'notes'


def test_no_permission_to_write(options, tmp_path):
    skip_unless_rights_are_obeyed()
    (tmp_path / 'x' / 'experiments').mkdir(parents=True, mode=0o500)

    def start(kind: str, folder: Path) -> int:
        obey_rights()
        return launch(kind, folder)

    assert training_processes.train(tmp_path / 'x', options, start=start) == [2]
    said = (tmp_path / 'x' / 'said_0.txt').read_text()
    assert 'Traceback' not in said
    assert said.splitlines()[-1].startswith(f'Error: Permission denied: {tmp_path / "x" / "experiments"}')
    assert list((tmp_path / 'x' / 'experiments').iterdir()) == []


def test_processes_at_a_port_that_is_taken():
    with socket.create_server(('', 0)) as taken, pytest.raises(RuntimeError) as raised:
        torch.distributed.TCPStore('127.0.0.1', taken.getsockname()[1], is_master=True)
    message = user_message(raised.value)
    assert message.startswith('The processes of this run cannot meet: ')
    assert 'address already in use. Take another port' in message
    assert '\n' not in message


def test_memory_of_the_gpu():
    message = user_message(torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 9 GiB.'))
    assert message.startswith(
        'The GPU has too little memory: train with a smaller batch or crop, test with tiles. CUDA'
    )


def test_workers_are_ended_without_the_signal_that_windows_lacks(monkeypatch):
    worker = torch.multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,), daemon=True)
    worker.start()
    monkeypatch.delattr('signal.SIGCHLD')
    end_workers()
    worker.join(timeout=10)
    assert worker.exitcode == -9


# Folders


def test_a_second_training_of_one_name_is_refused(train, options, tmp_path):
    running = RunLock(tmp_path / 'experiments' / 'stock', 'a training')
    code, line = train(options)
    assert code == 2
    assert line.startswith(f'Error: {tmp_path / "experiments" / "stock"} is in use. Process {os.getpid()} on ')
    assert list((tmp_path / 'experiments').iterdir()) == [running.file]
    running.release()
    assert train(options).code == 0
    assert [path.name for path in (tmp_path / 'experiments').iterdir()] == ['stock']


def test_a_training_whose_folder_is_taken_over_ends(train, options, tmp_path, monkeypatch):
    optimize = SRModel.optimize_parameters

    def taken(model, iteration):
        optimize(model, iteration)
        if iteration == 2:
            (tmp_path / 'experiments' / '.stock.lock').write_text('{"process": 1, "host": "elsewhere"}')

    monkeypatch.setattr(SRModel, 'optimize_parameters', taken)
    code, line = train(options)
    assert code == 2
    assert 'belongs to another run by now. Process 1 on elsewhere' in line
    assert not (tmp_path / 'experiments' / 'stock' / 'models' / 'net_g_4.pth').exists()


@pytest.mark.parametrize('resumes', [False, True])
def test_a_fault_of_the_program_before_the_first_iteration_is_undone(
    before, train, options, tmp_path, monkeypatch, resumes
):
    def broken(*_):
        raise RuntimeError('a bug')

    monkeypatch.setattr('basicsr.train.MessageLogger', broken)
    arguments = ('--auto_resume', '--set', 'train.total_iter=8') if resumes else ()
    time.sleep(1)  # logs are named by the second; within the same one BasicSR writes over the one before
    with pytest.raises(RuntimeError, match='a bug'):
        train(options, *arguments)
    assert files(tmp_path) == before


def test_weights_that_the_start_would_move_away(before, train, options, tmp_path):
    options['path']['pretrain_network_g'] = 'experiments/stock/models/net_g_latest.pth'
    code, line = train(options)
    assert code == 2
    assert 'path.pretrain_network_g: it lies in the folder of the last run' in line
    assert files(tmp_path) == before
    options['name'] = 'other'
    assert train(options).code == 0


def test_images_that_the_start_would_move_away(before, train, options, tmp_path):
    folder = tmp_path / 'experiments' / 'stock' / 'visualization' / '000'
    options['datasets']['val'] |= {'dataroot_lq': str(folder), 'dataroot_gt': str(folder)}
    code, line = train(options)
    assert code == 2
    assert line.startswith('Error: datasets.val.dataroot_')
    assert files(tmp_path) == before


# Names with `debug`


@pytest.mark.parametrize(('name', 'is_short'), [('my_debugged_net', False), ('debug_x', True)])
def test_only_who_asks_for_it_debugs(train, options, tmp_path, name, is_short):
    options['name'] = name
    options['train']['total_iter'] = 9
    options['logger'] |= {'save_checkpoint_freq': 100, 'print_freq': 100, 'use_tb_logger': False}
    options['val']['val_freq'] = 100
    assert train(options).code == 0
    folder = tmp_path / 'experiments' / name
    assert (folder / 'models' / 'net_g_8.pth').exists() is is_short
    resolved = yaml.safe_load((folder / 'resolved_options.yml').read_text())
    intervals = (
        resolved['logger']['save_checkpoint_freq'],
        resolved['logger']['print_freq'],
        resolved['val']['val_freq'],
    )
    assert intervals == ((8, 1, 8) if is_short else (100, 100, 100))
    assert resolved['name'] == name


def test_a_name_with_debug_and_no_validation(train, options):
    options |= {'name': 'debug_x', 'val': None}
    del options['datasets']['val']
    assert train(options).code == 0


@pytest.mark.skipif(shutil.which('localedef') is None, reason='localedef, which makes locales, is not installed')
def test_a_machine_whose_code_page_is_not_utf_8(options, tmp_path):
    """Names that the code page has, and a comment that it has no characters for."""
    made = tmp_path / 'locales' / 'zh_CN.GBK'
    made.parent.mkdir()
    subprocess.run(['localedef', '-i', 'zh_CN', '-f', 'GBK', made], capture_output=True, check=False)
    if not made.exists():
        pytest.skip('localedef has no sources of the locale zh_CN.GBK')
    options['name'] = '训练'
    # TensorBoard and OpenCV write to folders in UTF-8, whatever the code page.
    options['logger']['use_tb_logger'] = options['val']['save_img'] = False
    text = f'# \U0001f600 设置\n{yaml.safe_dump(options, allow_unicode=True)}'
    (tmp_path / 'run.yml').write_text(text, encoding='utf-8')
    locale = {'LOCPATH': str(made.parent), 'LC_ALL': 'zh_CN.GBK', 'PYTHONIOENCODING': 'utf-8'}
    command = ('-X', 'utf8=0', '-m', 'deeprftv2_arch.train', '-opt', 'run.yml')
    trained = python(*command, folder=tmp_path, **locale)
    assert trained.returncode == 0, trained.stderr
    experiment = tmp_path / 'experiments' / os.fsdecode('训练'.encode('gbk'))
    assert (experiment / 'run.yml').read_text(encoding='utf-8').endswith(text)
    assert yaml.safe_load((experiment / 'resolved_options.yml').read_text(encoding='utf-8'))['name'] == '训练'
