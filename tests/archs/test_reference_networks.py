"""The networks without parameters, whose figures restored images are measured against."""

from __future__ import annotations

import pytest
import torch
from basicsr.archs import build_network

import deeprftv2_arch  # noqa: F401  # registers the names


@pytest.mark.parametrize('options', [{}, {'width': 48, 'num_blocks': [1, 4, 8], 'tile': 512}])
def test_identity_returns_a_copy_whatever_its_options(options):
    net = build_network({'type': 'Identity', **options}).eval()
    x = torch.rand(2, 3, 5, 7)
    output = net(x)
    assert torch.equal(output, x)
    output.zero_()
    assert x.any()
    assert not list(net.parameters())


def bicubic(upscale, x):
    return build_network({'type': 'Bicubic', 'upscale': upscale, 'window_size': 16})(x)


@pytest.mark.parametrize('upscale', [2, 3, 4])
def test_bicubic_inside_is_that_of_torch(upscale):
    # With antialias torch has MATLAB's cubic, a = -0.5; at the edges it does not mirror.
    x = torch.rand(2, 3, 12, 15, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(x, scale_factor=upscale, mode='bicubic', antialias=True)
    inner = (..., slice(2 * upscale, -2 * upscale), slice(2 * upscale, -2 * upscale))
    output = bicubic(upscale, x)
    assert output.shape == expected.shape
    torch.testing.assert_close(output[inner], expected[inner], rtol=0, atol=1e-5)


def test_bicubic_mirrors_at_the_edges():
    x = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    mirrored = torch.cat([x.flip(-1), x, x.flip(-1)], -1)
    mirrored = torch.cat([mirrored.flip(-2), mirrored, mirrored.flip(-2)], -2)
    torch.testing.assert_close(bicubic(2, x), bicubic(2, mirrored)[..., 12:24, 14:28], rtol=0, atol=1e-6)


def test_bicubic_keeps_constants_ramps_and_the_type():
    ramp = torch.arange(16.0, dtype=torch.float64).expand(1, 3, 16, 16) / 16
    output = bicubic(2, ramp)
    assert output.dtype == torch.float64
    # Half a pixel of the small image lies a quarter of its step beside the large pixel's centre.
    expected = (torch.arange(32.0, dtype=torch.float64) / 2 - 0.25) / 16
    torch.testing.assert_close(output[0, 0, 16, 4:-4], expected[4:-4], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match='upscale must be at least 1'):
        bicubic(0, ramp)
