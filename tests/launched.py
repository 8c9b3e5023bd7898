"""Launchers and option files in a place of their own, run on miniatures as a user would run them."""

from __future__ import annotations

import logging
import os
import runpy
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.utils import logger as basicsr_logger
from processes import ROOT
from torch import multiprocessing

SHORT = {
    'logger.print_freq': 1,
    'logger.use_tb_logger': False,
    'datasets.train.batch_size_per_gpu': 1,
    'datasets.train.num_worker_per_gpu': 0,
}
"""What every training of a test changes, for `assignments`; its lengths come beside it."""


def copy_project(folder: Path) -> Path:
    """Copy the launchers and the option files, so that what they write goes there too."""
    for name in ('basicsr', 'options'):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    return folder


def stage_values(number: int, gt_size: int | Sequence[int]) -> dict[str, Any]:
    """Two iterations of two crops in the place of a stage, for `assignments`."""
    stage = {'gt_size': gt_size, 'total_batch': 2, 'iterations': 2}
    return {f'train.stages.{number}.{key}': value for key, value in stage.items()}


def assignments(values: Mapping[str, Any]) -> list[str]:
    """Values by their dotted keys, as `--set` takes them."""
    return [f'{key}={yaml.safe_dump(value, default_flow_style=True).splitlines()[0]}' for key, value in values.items()]


def run(project: Path, kind: str, *arguments: str) -> str:
    """Run `basicsr/<kind>.py` from the root of the project and return what it said.

    The process is forked from this one, so that it starts without the imports.
    """
    output = project / 'said.txt'
    process = multiprocessing.get_context('fork').Process(target=_launch, args=(project, kind, arguments, output))
    process.start()
    process.join(timeout=120)
    said = output.read_text()
    assert process.exitcode == 0, said
    return said


def _launch(project: Path, kind: str, arguments: tuple[str, ...], output: Path) -> None:
    torch.set_num_threads(1)
    os.chdir(project)
    with open(output, 'w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', buffering=1, closefd=False)  # noqa: SIM115
    basicsr_logger.initialized_logger.clear()
    logging.getLogger('basicsr').handlers.clear()
    sys.argv = [f'basicsr/{kind}.py', *arguments]
    code = 1
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as done:
        code = done.code
    finally:
        sys.stdout.flush()
        os._exit(code)
