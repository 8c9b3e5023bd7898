"""Whole trainings in processes forked from that of the tests, which start without the imports."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import basicsr.train
import torch
import yaml
from basicsr.utils import logger as basicsr_logger
from processes import free_port
from torch import multiprocessing

from deeprftv2_arch.launch.run import launch
from deeprftv2_arch.models import DeblurModel


def train(
    folder: Path,
    options: dict[str, Any],
    *arguments: str,
    processes: int = 1,
    before: Callable[[int], None] | None = None,
    start: Callable[[str, Path], int | None] = launch,
) -> list[int]:
    """Train in a folder.

    Args:
        folder: Current folder and root of the experiments; it is made.
        options: The option file.
        arguments: More of the command line.
        processes: How many train together, with gloo.
        before: Called in each of them before every iteration, with its number.
        start: What runs in each of them: our launcher, or `by_basicsr`.

    Returns:
        The exit code of each process, as of `multiprocessing`: -9 for one that was killed.
    """
    folder.mkdir(exist_ok=True)
    (folder / 'run.yml').write_text(yaml.safe_dump(options))
    arguments = ('-opt', 'run.yml', *arguments)
    if processes > 1:
        arguments += ('--launcher', 'pytorch')
    port, context = free_port(), multiprocessing.get_context('fork')
    started = [
        context.Process(target=_train, args=(rank, processes, port, folder, arguments, before, start))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(timeout=120)
        if process.is_alive():
            process.kill()  # it hangs
            process.join()
    return [process.exitcode for process in started]


def by_basicsr(_: str, folder: Path) -> None:
    """For `train`: BasicSR's own script, without our launcher."""
    basicsr.train.train_pipeline(str(folder))


def killed_before(iteration: int) -> Callable[[int], None]:
    """For `train`: what ends all processes like a power failure."""

    def kill(current: int) -> None:
        if current == iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


def signalled_before(iteration: int, number: int, rank: int = 0) -> Callable[[int], None]:
    """For `train`: what asks one process to stop, as Ctrl+C or a scheduler does."""

    def ask(current: int) -> None:
        if current == iteration and os.environ['RANK'] == str(rank):
            os.kill(os.getpid(), number)

    return ask


def _train(rank: int, processes: int, port: int, folder: Path, arguments: tuple[str, ...], before, start) -> None:
    torch.set_num_threads(1)
    os.chdir(folder)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    os.environ['WORLD_SIZE'] = str(processes)
    output = os.open(f'said_{rank}.txt', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', buffering=1, closefd=False)  # noqa: SIM115
    basicsr_logger.initialized_logger.clear()
    logging.getLogger('basicsr').handlers.clear()
    sys.argv = ['train', *arguments]
    if before is not None:
        update = DeblurModel.update_learning_rate

        def update_learning_rate(self, current_iter, warmup_iter=-1):
            before(current_iter)
            update(self, current_iter, warmup_iter)

        DeblurModel.update_learning_rate = update_learning_rate
    code = start('train', folder) or 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
