"""How the processes of a training meet: BasicSR's faults, shown on its own functions, and gone with ours."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from basicsr.models.base_model import BaseModel
from basicsr.utils import dist_util
from processes import free_port
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from deeprftv2_arch.utils.errors import UserError


def model() -> SimpleNamespace:
    return SimpleNamespace(opt={'dist': True, 'num_gpu': 0}, device=torch.device('cpu'))


@pytest.fixture
def alone(monkeypatch):
    """The environment of the only process of a distributed training."""
    for name, value in {'RANK': 0, 'LOCAL_RANK': 0, 'WORLD_SIZE': 1, 'MASTER_PORT': free_port()}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv('MASTER_ADDR', '127.0.0.1')
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


@pytest.mark.skipif(torch.cuda.is_available(), reason='shows what happens without CUDA')
def test_faults(alone):
    with pytest.raises(ZeroDivisionError):
        dist_util._init_dist_pytorch.original('nccl')
    dist_util._init_dist_pytorch('nccl')
    with pytest.raises((AssertionError, RuntimeError), match=r'CUDA|NVIDIA'):
        BaseModel.model_to_device.original(model(), torch.nn.Linear(2, 1))


def test_patched(alone):
    dist_util._init_dist_pytorch('nccl')
    net = BaseModel.model_to_device(model(), torch.nn.Linear(2, 1))
    assert isinstance(net, DistributedDataParallel)
    net(torch.ones(3, 2)).sum().backward()
    assert torch.equal(net.module.weight.grad, torch.full((1, 2), 3.0))


@pytest.mark.parametrize(('launcher', 'missing'), [('pytorch', 'RANK, WORLD_SIZE'), ('slurm', 'SLURM_PROCID')])
def test_not_started_as_it_says(launcher, missing):
    with pytest.raises(UserError, match=f'--launcher {launcher}: the environment has no {missing}'):
        dist_util.init_dist(launcher)


def test_slurm_without_its_programs(monkeypatch):
    for name, value in {'SLURM_PROCID': '0', 'SLURM_NTASKS': '1', 'SLURM_NODELIST': 'gpu[03-06]'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv('PATH', '')
    with pytest.raises(UserError, match=r'`scontrol show hostnames gpu\[03-06\]` named no machine'):
        dist_util.init_dist('slurm')
