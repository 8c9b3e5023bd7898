"""Which of the processes that torchrun or Slurm started this one is, known before they have met."""

from __future__ import annotations

import os
import sys


def process_rank() -> int:
    """Rank of this process among all of its run."""
    return int(os.environ.get('RANK', _told_by_slurm('SLURM_PROCID')))


def local_rank() -> int:
    """Rank of this process among those on the same machine."""
    return int(os.environ.get('LOCAL_RANK', _told_by_slurm('SLURM_LOCALID')))


def count_processes(launcher: str) -> int:
    """The number of processes of the run that this process is to be one of.

    Args:
        launcher: `none`, `pytorch` or `slurm`: what starts them.
    """
    variable = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS'}.get(launcher)
    return int(os.environ.get(variable, 1)) if variable else 1


def _told_by_slurm(variable: str) -> str:
    """Slurm numbers its tasks also where each of them is a run of its own: without `--launcher slurm`."""
    is_asked = any(argument in ('slurm', '--launcher=slurm') for argument in sys.argv)
    return os.environ.get(variable, '0') if is_asked else '0'
