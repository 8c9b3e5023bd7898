"""The fused passes of inference: their results are those of the plain form, and they stay out where they must."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.nafblock import NAFBlock, simple_gate
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock

# One pixel, one row, one column, a tile of the kernel and one pixel more, two samples.
SIZES = [(2, 16, 1, 1), (1, 32, 1, 5), (1, 16, 7, 1), (1, 48, 3, 32), (2, 16, 9, 33)]


@pytest.fixture(autouse=True)
def without_autograd():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def check(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare float32 with float64."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 2e-6 * max(expected.abs().max(), 1)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_every_pass_has_the_values_of_the_plain_form(size: tuple[int, int, int, int]) -> None:
    channels = size[1]
    x, both = 3 * torch.randn(size), 3 * torch.randn(size[0], *size[2:], 2 * channels)
    assert fused.runs(x)
    expand = nn.Conv2d(channels, 2 * channels, 1)
    wide, narrow = (nn.Conv2d(c, c, 3, padding=1, groups=c) for c in (2 * channels, channels))
    norm = nn.LayerNorm(channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    gated, mean = fused.expand_depthwise_gate(x, expand, wide)
    fed = fused.expand_gate(x, expand)
    convolved = fused.depthwise_gelu(both, narrow)
    normed = fused.norm_gelu_gate(x.permute(0, 2, 3, 1), norm, both)
    x, both = x.double(), both.double()
    for module in (expand, wide, narrow, norm):
        module.double()
    expected = simple_gate(wide(expand(x)))
    check(gated, expected)
    check(mean, expected.mean((2, 3), keepdim=True))
    check(fed, simple_gate(expand(x)))
    features, gate = both.chunk(2, dim=-1)
    check(convolved, F.gelu(narrow(features.permute(0, 3, 1, 2))))
    check(normed, norm(x.permute(0, 2, 3, 1)) * F.gelu(gate))


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('kernel', [None, 6])
@pytest.mark.parametrize('make', [NAFBlock, lambda channels, kernel: NAFEVSBlock(channels, 0, kernel)])
def test_blocks_have_the_same_values_with_autograd_and_without(make, kernel, threads: int, monkeypatch) -> None:
    monkeypatch.setattr(fused, '_ELEMENTS', 0)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    block, x = make(32, kernel), torch.randn(2, 32, 10, 9)
    for parameter in block.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    with torch.enable_grad():
        assert not fused.runs(block.norm1(x))
        expected = block(x).detach()
    check(block(x), expected.double())


def test_plain_form_where_a_kernel_cannot_read_the_map() -> None:
    x = torch.randn(1, 16, 4, 4)
    assert fused.runs(x)
    assert not fused.runs(x.double())
    assert not fused.runs(x.to('meta'))
    assert not fused.runs(x[:, :15])
    with torch.autocast('cpu', torch.bfloat16):
        assert not fused.runs(x)


def test_plain_form_where_numba_fails(monkeypatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    block, x = NAFBlock(16), torch.randn(1, 16, 4, 4)
    nn.init.ones_(block.beta)
    expected = block(x)
    fused._kernels.cache_clear()
    try:
        monkeypatch.setattr(fused.importlib, 'import_module', fail)
        assert not fused.runs(x)
        check(block(x), expected.double())
    finally:
        fused._kernels.cache_clear()
