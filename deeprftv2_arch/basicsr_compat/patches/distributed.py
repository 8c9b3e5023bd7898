"""Patches of how BasicSR has several processes train together."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta

import torch
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from deeprftv2_arch.basicsr_compat.patches.patching import base_model, module, replace, source_has
from deeprftv2_arch.utils.errors import UserError

VALIDATION_TIMEOUT = timedelta(days=1)
"""How long the other processes of a distributed training may wait while rank 0 validates."""

SLURM_PORT = 29500
"""Port of rank 0 under Slurm, unless `dist_params.port` or `MASTER_PORT` says otherwise: as in BasicSR."""

_NEEDED = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'),
}
"""Environment variables of a process that torchrun or srun has started."""


def patch_init_dist() -> bool:
    """Start distributed training on a machine without a GPU too, and let rank 0 take its time over validation.

    BasicSR picks a CUDA device and NCCL whatever the machine, under torchrun and under Slurm. With both backends at
    hand, a run with `num_gpu: 0` on a machine with GPUs works as well. While rank 0 validates, the others wait in the
    next all-reduce and die after NCCL's ten minutes. BasicSR #635, #703, NAFNet #63.
    """
    dist_util = module('utils.dist_util')
    if not source_has(dist_util._init_dist_pytorch, 'torch.cuda.set_device(rank % num_gpus)'):
        return False

    def _init_dist_pytorch(backend, **kwargs):
        _check_started_by('pytorch')
        if torch.cuda.is_available() and dist.is_nccl_available():
            torch.cuda.set_device(int(os.environ.get('LOCAL_RANK', os.environ['RANK'])) % torch.cuda.device_count())
            backend = f'cpu:gloo,cuda:{backend}'
        else:
            backend = 'gloo'
        dist.init_process_group(backend=backend, **{'timeout': VALIDATION_TIMEOUT, **kwargs})

    def _init_dist_slurm(backend, port=None):
        _check_started_by('slurm')
        rank = os.environ['SLURM_PROCID']
        os.environ.update(
            MASTER_ADDR=_first_host(os.environ['SLURM_NODELIST']),
            MASTER_PORT=str(port or os.environ.get('MASTER_PORT', SLURM_PORT)),
            WORLD_SIZE=os.environ['SLURM_NTASKS'],
            RANK=rank,
            LOCAL_RANK=os.environ.get('SLURM_LOCALID', rank),
        )
        _init_dist_pytorch(backend)

    replace(dist_util, '_init_dist_pytorch', _init_dist_pytorch)
    replace(dist_util, '_init_dist_slurm', _init_dist_slurm)
    return True


def patch_ddp_on_cpu() -> bool:
    """Wrap a network on the CPU in DistributedDataParallel without naming a CUDA device. NAFNet #63, BasicSR #635."""
    if not source_has(base_model().model_to_device, 'device_ids=[torch.cuda.current_device()]'):
        return False

    def model_to_device(self, net):
        if not self.opt['dist'] or self.device.type != 'cpu':
            return model_to_device.original(self, net)
        find_unused_parameters = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net.to(self.device), find_unused_parameters=find_unused_parameters)

    replace(base_model(), 'model_to_device', model_to_device)
    return True


def _check_started_by(launcher: str) -> None:
    missing = [name for name in _NEEDED[launcher] if name not in os.environ]
    if missing:
        command = {'pytorch': 'torchrun --nproc_per_node=8', 'slurm': 'srun --ntasks-per-node=8'}[launcher]
        raise UserError(
            f'--launcher {launcher}: the environment has no {", ".join(missing)}. Start with {command} ..., or leave '
            'out --launcher for one process.'
        )


def _first_host(nodes: str) -> str:
    """Return the first machine of a list in Slurm's notation, such as `gpu[03-06,11]`."""
    command = ['scontrol', 'show', 'hostnames', nodes]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise UserError(
            f'--launcher slurm: `{" ".join(command)}` named no machine. Is Slurm installed here?'
        ) from error
