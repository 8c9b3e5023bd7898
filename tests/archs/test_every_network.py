"""Every network this package registers: forward, odd sizes, a finite gradient for every parameter."""

from __future__ import annotations

import pytest
import torch

import deeprftv2_arch  # noqa: F401  # registers the names

# isort: split
from basicsr.utils.registry import ARCH_REGISTRY

# Smallest options with all parts in use. A newly registered name without an entry fails the test.
OPTIONS = {
    'DeepRFTv2': {
        'width': 4,
        'num_blocks': [1, 1, 2],
        'block_types': [['naf', 'nafevs', 'nafevs'], ['naf', 'naf', 'naf']],
        'num_columns': 2,
    },
}
OURS = [name for name, cls in ARCH_REGISTRY if cls.__module__.startswith('deeprftv2_arch.')]


def test_something_is_registered() -> None:
    assert 'DeepRFTv2' in OURS


@pytest.mark.parametrize('name', OURS)
def test_network(name: str) -> None:
    torch.manual_seed(0)
    net = ARCH_REGISTRY.get(name)(**OPTIONS[name])
    for height, width in ((16, 16), (11, 21), (1, 1)):
        x = torch.rand(2, 3, height, width)
        kept = x.clone()
        output = net(x)
        assert output.shape == x.shape
        assert output.isfinite().all()
        assert torch.equal(x, kept)
    with torch.no_grad():
        # Gates and gains that start at zero would hide missing gradients behind them.
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    outputs = net(torch.rand(1, 3, 13, 18), return_all=True)
    sum(output.square().sum() for images in outputs for output in images).backward()
    silent = [key for key, parameter in net.named_parameters() if parameter.grad is None]
    assert silent == []
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
