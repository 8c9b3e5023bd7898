"""The fused passes of inference: their results are those of the plain form, and they stay out where they must."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deeprftv2_arch.nn import fused
from deeprftv2_arch.nn.nafblock import NAFBlock, simple_gate
from deeprftv2_arch.nn.nafevsblock import NAFEVSBlock
from deeprftv2_arch.nn.norm import LayerNorm2d

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


def drawn(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_every_pass_has_the_values_of_the_plain_form(size: tuple[int, int, int, int]) -> None:
    channels = size[1]
    x, base, scanned = 3 * torch.randn(size), torch.randn(size), torch.randn(size[0], 2 * channels, *size[2:])
    assert fused.runs(x)
    norm, scan_norm = drawn(LayerNorm2d(channels)), drawn(nn.LayerNorm(2 * channels))
    expand, project, project_wide, gates = (
        drawn(nn.Conv2d(*sides, 1))
        for sides in (
            (channels, 2 * channels),
            (channels, channels),
            (2 * channels, channels),
            (channels, 2 * channels),
        )
    )
    depthwise = drawn(nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels))
    each = torch.randn(len(x), channels, channels)
    weights = expand.weight, expand.bias
    gated, mean = fused.norm_expand_depthwise(x, norm, *weights, depthwise, gates=True)
    activated, _ = fused.norm_expand_depthwise(x, norm, *weights, depthwise, gates=False)
    updated = fused.update(x, base, project.weight.flatten(1), project.bias)
    updated_each = fused.update(x, base, each, None)
    fed = fused.feed_forward(x, norm, expand, project.weight.flatten(1), project.bias)
    scanned_update = fused.gated_update(
        scanned, x, base, norm, gates.weight.flatten(1), scan_norm, project_wide.weight.flatten(1)
    )
    x, base, scanned, each = x.double(), base.double(), scanned.double(), each.double()
    for module in (norm, scan_norm, expand, project, project_wide, gates, depthwise):
        module.double()
    convolved = depthwise(expand(norm(x)))
    check(gated, simple_gate(convolved))
    check(mean, simple_gate(convolved).mean((2, 3), keepdim=True))
    check(activated, F.gelu(convolved))
    check(updated, base + project(x))
    check(updated_each, base + torch.einsum('nkc,nchw->nkhw', each, x))
    check(fed, x + project(simple_gate(expand(norm(x)))))
    gate = F.gelu(gates(norm(x)) - gates.bias.view(-1, 1, 1))
    normed = scan_norm(scanned.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    check(scanned_update, base + project_wide(normed * gate) - project_wide.bias.view(-1, 1, 1))


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
        assert not fused.runs(x)
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
