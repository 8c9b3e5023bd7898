"""Which of the processes that torchrun or Slurm started this one is, known before they have met."""

from __future__ import annotations

import os
import sys


def process_rank() -> int:
    """Return the rank of this process among all of its run."""
    return int(os.environ.get('RANK', _from_slurm('SLURM_PROCID')))


def local_rank() -> int:
    """Return the rank of this process among those on the same machine."""
    return int(os.environ.get('LOCAL_RANK', _from_slurm('SLURM_LOCALID')))


def count_processes(launcher: str) -> int:
    """Return the number of processes of the run that this process is to be one of.

    Args:
        launcher: `none`, `pytorch` or `slurm`: what starts them.
    """
    variables = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS'}
    if launcher not in variables:
        return 1
    return int(os.environ.get(variables[launcher], 1))


def _from_slurm(variable: str) -> str:
    """Read a number that counts only with `--launcher slurm`: else each task of Slurm may be its own run."""
    is_asked = any(argument in ('slurm', '--launcher=slurm') for argument in sys.argv)
    return os.environ.get(variable, '0') if is_asked else '0'
