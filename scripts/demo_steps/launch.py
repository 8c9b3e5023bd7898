"""Run BasicSR's launchers as a user would, show how far they are, and interrupt one on purpose."""

from __future__ import annotations

import ctypes
import fcntl
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from .console import progress

ROOT = Path(__file__).resolve().parents[2]

ITERATION = re.compile(r'\[epoch:[\s\d,]+iter:\s*([\d,]+), lr.* l_total: (\S+)')
RESUMED = re.compile(r'Resuming training from epoch: \d+, iter: (\d+)')


class LaunchError(Exception):
    """A launcher ended with an error; the message holds the end of its output."""


def command(script: str, option_file: Path, overrides: Mapping[str, object], *flags: str) -> list[str]:
    """The command line of a launcher, as one could type it at the root of the repository.

    Args:
        script: `train` or `test`.
        option_file: YAML option file.
        overrides: Values that replace those of the option file, for example `{'train:total_iter': 8}`.
        flags: Further flags, for example `--auto_resume`.
    """
    forced = [f'{key}={value}' for key, value in overrides.items()]
    return [
        sys.executable,
        f'basicsr/{script}.py',
        '-opt',
        os.path.relpath(option_file, ROOT),
        *flags,
        *(['--force_yml', *forced] if forced else []),
    ]


def as_typed(arguments: list[str]) -> str:
    """A command line as a user would type it, without the path of the interpreter and without replaced values."""
    stop = arguments.index('--force_yml') if '--force_yml' in arguments else None
    threads = f'OMP_NUM_THREADS={os.environ["OMP_NUM_THREADS"]} ' if 'OMP_NUM_THREADS' in os.environ else ''
    return f'{threads}{shlex.join(["python", *arguments[1:stop]])}' + (' ...' if stop else '')


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Make sure that this is the only demo at work in this checkout.

    Raises:
        LaunchError: If another one is.
    """
    lock.parent.mkdir(exist_ok=True)
    with lock.open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError('Another demo is at work in this checkout; wait for it to end.') from None
        yield


def end_with_parent() -> None:
    """Ask Linux to end this process when its parent is killed, so that no training is left running unseen."""
    if sys.platform == 'linux':
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


@contextmanager
def process(arguments: list[str]) -> Iterator[subprocess.Popen]:
    """Start a launcher at the root of the repository; it never outlives the `with` block."""
    child = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_with_parent,
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.stdout.close()
        child.wait()


def run(arguments: list[str]) -> None:
    """Run a launcher to its end.

    Raises:
        LaunchError: If its exit code is not 0.
    """
    with process(arguments) as child:
        tail = deque(child.stdout, maxlen=20)
        if child.wait() != 0:
            raise LaunchError(''.join(tail))


def train(arguments: list[str], start: int, total: int, interrupt_after: Path | None = None) -> int | None:
    """Run a training with a progress bar.

    Args:
        arguments: Command line, see `command`.
        start: Iteration at which the bar starts.
        total: Iteration at which training ends.
        interrupt_after: If given, send Ctrl-C (SIGINT) as soon as this training state has been written.

    Returns:
        The iteration that the launcher said it resumed at, or None if it started from scratch.

    Raises:
        LaunchError: If training fails, or ends by itself although it was to be interrupted.
    """
    resumed, tail = None, deque(maxlen=20)
    with process(arguments) as child, progress(total=total, initial=start, unit='iter') as bar:
        for line in child.stdout:
            tail.append(line)
            if match := RESUMED.search(line):
                resumed = int(match[1])
            if match := ITERATION.search(line):
                iteration = int(match[1].replace(',', ''))
                bar.update(iteration - bar.n)
                bar.set_postfix_str(f'loss {float(match[2]):.4f}', refresh=False)
                # A line after the state's iteration proves that the state is complete.
                if interrupt_after is not None and interrupt_after.exists() and iteration > int(interrupt_after.stem):
                    child.send_signal(signal.SIGINT)
                    child.communicate(timeout=60)
                    return resumed
        if child.wait() != 0 or interrupt_after is not None:
            raise LaunchError(''.join(tail))
    return resumed


def last_state(folder: Path) -> int | None:
    """The iteration of the newest complete training state, after removing those that a kill left half-written.

    Args:
        folder: `experiments/NAME/training_states`; need not exist.
    """
    states = sorted(folder.glob('*.state'), key=lambda path: int(path.stem), reverse=True)
    for state in states:
        try:
            torch.load(state, map_location='cpu')
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            state.unlink()
        else:
            return int(state.stem)
    return None
