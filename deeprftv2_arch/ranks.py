"""Which of the processes that torchrun or Slurm started this one is, known before they have met."""

from __future__ import annotations

import os


def process_rank() -> int:
    """Rank of this process among all of its run."""
    return int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0)))


def local_rank() -> int:
    """Rank of this process among those on the same machine."""
    return int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0)))


def count_processes(launcher: str) -> int:
    """The number of processes of the run that this process is to be one of.

    Args:
        launcher: `none`, `pytorch` or `slurm`: what starts them.
    """
    variable = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS'}.get(launcher)
    return int(os.environ.get(variable, 1)) if variable else 1
