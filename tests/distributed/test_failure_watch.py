"""What one process of a run fails at ends them all, at once and with one message."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import free_port
from rights import obey_rights, skip_unless_rights_are_obeyed
from torch import multiprocessing
from training_processes import signalled_before, train

from deeprftv2_arch.checkpoints import io as checkpoint
from deeprftv2_arch.distributed import failure_watch
from deeprftv2_arch.distributed.failure_watch import LOST, FailureWatch
from deeprftv2_arch.launch.run import launch
from deeprftv2_arch.models import DeblurModel

LENGTH, SAVED = 10, 4


@pytest.fixture
def options(write_pairs, training_options) -> dict[str, Any]:
    options = training_options(write_pairs(count=5))
    options['train'] |= {'total_iter': LENGTH}
    options['val'] |= {'val_freq': 3, 'save_img': False, 'best': 'psnr'}
    options['logger'] |= {'save_checkpoint_freq': SAVED}
    return options


def fail_together(folder: Path, options: dict[str, Any], before: Callable[[int], None], rank: int = 0) -> str:
    """Train in two processes, which end with code 2 and one message from the one that fails. Return the message."""
    assert train(folder, options, processes=2, before=before) == [2, 2]
    said = [(folder / f'said_{number}.txt').read_text() for number in range(2)]
    assert 'Traceback' not in ''.join(said)
    assert 'Error: ' not in said[1 - rank]
    prefix = f'[rank {rank}] Error: ' if rank else 'Error: '
    (message,) = [line for line in said[rank].splitlines() if line.startswith(prefix)]
    assert not list((folder / 'experiments').rglob('*.part'))
    return message.removeprefix(prefix)


def fill_disk(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, resource.RLIM_INFINITY))


def take_folder_away(folder: Path) -> None:
    (folder / 'models').rename(folder / 'away')


def forbid_writing(folder: Path) -> None:
    obey_rights()
    (folder / 'models').chmod(0o500)


@pytest.mark.parametrize(
    ('happens', 'iteration', 'file', 'cause', 'workers'),
    [
        (fill_disk, SAVED + 1, 'training_states/8.state', '', 1),
        (take_folder_away, SAVED + 1, 'models/net_g_8.pth', 'No such file or directory', 0),
        (forbid_writing, SAVED + 1, 'models/net_g_8.pth', 'Permission denied', 0),
        # Only rank 0 writes anything after the last iteration.
        (take_folder_away, LENGTH, 'models/net_g_latest.pth', 'No such file or directory', 0),
    ],
)
def test_rank_0_cannot_save(options, tmp_path, happens, iteration, file, cause, workers):
    if happens is forbid_writing:
        skip_unless_rights_are_obeyed()
    folder = tmp_path / 'x'
    experiment = folder / 'experiments' / 'run'

    def before(current: int) -> None:
        if current == iteration and os.environ['RANK'] == '0':
            checkpoint.PAUSES = ()
            happens(experiment)

    options['val']['val_freq'] = 100
    options['datasets']['train']['num_worker_per_gpu'] = workers
    message = fail_together(folder, options, before)
    assert message.startswith(f'Cannot write {experiment / file}: {cause}')
    if (experiment / 'away').is_dir():
        (experiment / 'away').rename(experiment / 'models')
    (experiment / 'models').chmod(0o700)
    last = SAVED if iteration <= SAVED + 1 else 8
    assert train(folder, options, '--auto_resume', processes=2) == [0, 0]
    assert f'Resuming training from epoch: {2 * last // 5}, iter: {last}.' in (folder / 'said_0.txt').read_text()


def test_rank_1_misses_an_image_in_training(options, tmp_path):
    data = options['datasets']['train']
    for role in ('lq', 'gt'):
        data[f'dataroot_{role}'] = os.path.relpath(data[f'dataroot_{role}'], tmp_path / 'x')
    (tmp_path / 'nowhere').mkdir()

    def leave(iteration: int) -> None:
        if iteration == 6 and os.environ['RANK'] == '1':
            os.chdir(tmp_path / 'nowhere' / '..' / '..')

    message = fail_together(tmp_path / 'x', options, leave, rank=1)
    assert data['dataroot_lq'] in message or data['dataroot_gt'] in message
    assert (tmp_path / 'x' / 'experiments' / 'run' / 'training_states' / '4.state').is_file()


def test_rank_1_misses_an_image_in_validation(options, tmp_path, write_pairs):
    folders = write_pairs('val')
    options['datasets']['val'] |= {'dataroot_lq': str(folders.lq), 'dataroot_gt': str(folders.gt)}

    def remove(iteration: int) -> None:
        if iteration == 2 and os.environ['RANK'] == '1':
            (folders.lq / '001.png').unlink()

    message = fail_together(tmp_path / 'x', options, remove)  # all know of it, and rank 0 tells
    assert str(folders.lq / '001.png') in message
    assert not list(tmp_path.rglob('net_g_best.pth'))


def test_all_miss_the_same(options, tmp_path, write_pairs):
    def remove(iteration: int) -> None:
        if iteration == 2:
            for image in Path(options['datasets']['train']['dataroot_lq']).iterdir():
                image.unlink(missing_ok=True)

    assert train(tmp_path / 'x', options, processes=2, before=remove) == [2, 2]
    said = [(tmp_path / 'x' / f'said_{number}.txt').read_text() for number in range(2)]
    assert ''.join(said).count('Error: ') == 1
    assert 'Error: ' in said[0]


@pytest.mark.parametrize('killed', [0, 1])  # rank 0 keeps the store at which all meet
def test_one_is_killed(options, tmp_path, killed):
    codes = train(tmp_path / 'x', options, processes=2, before=signalled_before(3, signal.SIGKILL, rank=killed))
    other = 1 - killed
    assert (codes[killed], codes[other]) == (-9, 2)
    said = (tmp_path / 'x' / f'said_{other}.txt').read_text()
    assert said.splitlines()[-1] == ('[rank 1] ' if other else '') + f'Error: {LOST}'
    assert 'Traceback' not in said


def test_a_fault_of_the_program_keeps_its_traceback_alone(options, tmp_path):
    def fail(iteration: int) -> None:
        if iteration == 3 and os.environ['RANK'] == '1':
            raise RuntimeError('a bug')

    assert train(tmp_path / 'x', options, processes=2, before=fail) == [1, 1]
    said = [(tmp_path / 'x' / f'said_{number}.txt').read_text() for number in range(2)]
    assert said[1].splitlines()[-1] == 'RuntimeError: a bug'
    assert 'Traceback' not in said[0]
    assert 'Error' not in said[0]


def slow_and_signalled(folder: Path, current: Callable[[DeblurModel], bool]) -> Callable[[DeblurModel], None]:
    """For `DeblurModel.test`: counts images, and has rank 1 asked to stop at its second one of a validation."""
    test = DeblurModel.test

    def slow(self: DeblurModel) -> None:
        test(self)
        if current(self):
            images = folder / f'images_{os.environ["RANK"]}.txt'
            with open(images, 'a') as file:
                file.write('.')
            if os.environ['RANK'] == '1' and images.read_text() == '..':
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)

    return slow


def counted(folder: Path) -> list[int]:
    return [len((folder / f'images_{rank}.txt').read_text()) for rank in range(2)]


def test_all_leave_a_validation_when_one_is_asked(options, tmp_path, write_pairs, monkeypatch):
    folders = write_pairs('val', count=60)
    options['datasets']['val'] |= {'dataroot_lq': str(folders.lq), 'dataroot_gt': str(folders.gt)}
    slow = slow_and_signalled(tmp_path, lambda model: model.schedulers[0].last_epoch == 5)  # after iteration 6
    with monkeypatch.context() as patch:
        patch.setattr(DeblurModel, 'test', slow)
        assert train(tmp_path / 'x', options, processes=2) == [0, 0]
    said = [(tmp_path / 'x' / f'said_{rank}.txt').read_text() for rank in range(2)]
    assert said[0].splitlines()[-1] == 'Stopped after iteration 6, which is saved. Add --auto_resume to go on.'
    assert 'Traceback' not in ''.join(said)
    assert counted(tmp_path)[1] == 2
    assert counted(tmp_path)[0] < 15

    experiment = tmp_path / 'x' / 'experiments' / 'run'
    assert checkpoint.read_checkpoint(experiment / 'models' / 'net_g_best.pth')['best']['iter'] == 3
    assert 3 in checkpoint.read_checkpoint(experiment / 'training_states' / 'validations.pth')
    assert 6 not in checkpoint.read_checkpoint(experiment / 'training_states' / 'validations.pth')
    assert '\n6,val/' not in (experiment / 'values.csv').read_text()
    options['datasets']['val'] = {**options['datasets']['train'], 'name': 'Photos'}
    assert train(tmp_path / 'x', options, '--auto_resume', processes=2) == [0, 0]


def test_all_leave_a_test_when_one_is_asked(options, tmp_path, write_pairs, monkeypatch):
    folders = write_pairs('val', count=60)
    data = {**options['datasets']['val'], 'dataroot_lq': str(folders.lq), 'dataroot_gt': str(folders.gt)}
    options = {key: value for key, value in options.items() if key not in ('train', 'logger')}
    options |= {'datasets': {'test': data}, 'network_g': {'type': 'Identity'}}
    options['val'] = {'save_img': False, 'metrics': options['val']['metrics']}
    monkeypatch.setattr(DeblurModel, 'test', slow_and_signalled(tmp_path, lambda model: True))
    start = lambda _, folder: launch('test', folder)  # noqa: E731
    assert train(tmp_path / 'x', options, processes=2, start=start) == [130, 130]
    said = [(tmp_path / 'x' / f'said_{rank}.txt').read_text() for rank in range(2)]
    assert 'Traceback' not in ''.join(said)
    assert ''.join(said).count('Interrupted.') == 1
    assert counted(tmp_path)[0] < 15
    assert not list(tmp_path.rglob('*.csv'))
    assert not list(tmp_path.rglob('results.json'))


def wait_for_ever(rank: int, port: int, folder: Path) -> None:
    failure_watch.POLL, failure_watch.GRACE = 0.05, 0.2
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    met = FailureWatch.start()
    if rank == 0:
        met.fail(3)
        time.sleep(60)  # holds the connection, so that gloo notices nothing
    else:
        torch.distributed.barrier()


def test_what_waits_in_a_collective_for_ever_is_ended(tmp_path):
    port, context = free_port(), multiprocessing.get_context('fork')
    started = [context.Process(target=wait_for_ever, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=20)
    assert [process.exitcode for process in started] == [3, 3]


def test_the_first_that_fails_tells():
    alone = FailureWatch()
    assert not alone.asked_to_stop()
    alone.ask_to_stop()
    assert alone.asked_to_stop()
    assert alone.fail(2)
    assert not alone.fail(1)
    assert alone.failed == 2
