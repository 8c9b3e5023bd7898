"""Every network this package registers: forward, odd sizes, a finite gradient for every parameter."""

from __future__ import annotations

from inspect import signature

import pytest
import torch

import deeprftv2_arch  # noqa: F401  # registers the names

# isort: split
from basicsr.utils.registry import ARCH_REGISTRY

SMALL_ATD = {'width': 8, 'depths': [3, 2], 'heads': 2, 'window': 4, 'group': 16, 'tokens': 5, 'code_channels': 3}
# Smallest options with all parts in use. A newly registered name without an entry fails the test.
OPTIONS = {
    'DeepRFTv2': {
        'width': 4,
        'num_blocks': [1, 1, 2],
        'block_types': [['naf', 'nafevs', 'nafevs'], ['naf', 'naf', 'naf']],
        'num_columns': 2,
    },
    'FDIKP': {
        'width': 4,
        'num_blocks': [1, 1, 1],
        'num_kernels': 2,
        'kernel_size': 5,
        'spectrum_tile': 8,
        'spectral_channels': 3,
        'dilations': [1, 2],
        'state_channels': 4,
    },
    'ATD': {'upscale': 3, **SMALL_ATD},
    'ATDFKE': {'upscale': 2, **SMALL_ATD},
    'WithFKE': {
        'network': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 1},
        'after': 'conv_after_body',
    },
}
# They have nothing to train: test_reference_networks.py. Pretrained is built from a file: test_spandrel.py.
REFERENCES = {'Bicubic', 'Identity', 'Pretrained'}
OURS = [name for name, cls in ARCH_REGISTRY if cls.__module__.startswith('deeprftv2_arch.') and name not in REFERENCES]


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
        scale = OPTIONS[name].get('upscale', 1)
        assert output.shape == (2, 3, scale * height, scale * width)
        assert output.isfinite().all()
        assert torch.equal(x, kept)
    with torch.no_grad():
        # Gates and gains that start at zero would hide missing gradients behind them.
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.rand(1, 3, 13, 18)
    supervised = 'return_all' in signature(net.forward).parameters
    outputs = [output for images in net(x, return_all=True) for output in images] if supervised else [net(x)]
    sum(output.square().sum() for output in outputs).backward()
    silent = [key for key, parameter in net.named_parameters() if parameter.grad is None]
    assert silent == []
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
