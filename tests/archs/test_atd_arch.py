"""ATD and ATD + FKE against the published values and sizes, and as a user handles them."""

from __future__ import annotations

import logging
import re

import pytest
import torch
from published import load
from published_atd import fill, image
from torch import Tensor

from deeprftv2_arch.archs.atd_arch import ATD, ATDFKE
from deeprftv2_arch.checkpoints.published_keys.atd import published_key
from deeprftv2_arch.nn import memory

GOLDEN = load('atd')
NETWORKS = {'': ATD, 'fke_': ATDFKE}
WHOLE = [name for name in GOLDEN if 'atd_light' in name]
SMALL = {'width': 8, 'depths': [2, 2], 'heads': 2, 'window': 4, 'group': 16, 'tokens': 5, 'code_channels': 3}


def small(network: type[ATD] = ATD, **options: object) -> ATD:
    """A tiny network in evaluation mode whose parameters are all in use."""
    torch.manual_seed(0)
    net = network(**{'upscale': 2, **SMALL, **options})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


@pytest.mark.parametrize(
    ('network', 'counts'), [(ATD, (753_204, 759_699, 768_792)), (ATDFKE, (1_163_108, 1_169_603, 1_178_696))]
)
def test_parameter_counts_are_the_papers(network: type[ATD], counts: tuple[int, ...]) -> None:
    with torch.device('meta'):
        nets = [network(upscale=upscale) for upscale in (2, 3, 4)]
    assert tuple(sum(parameter.numel() for parameter in net.parameters()) for net in nets) == counts


@pytest.mark.parametrize('name', WHOLE)
@torch.no_grad()
def test_the_published_values(name: str) -> None:
    """Generic parameters in float64. In float32 rounding flips categories there: smooth ones, and a looser bound."""
    smooth, fke, whole, upscale, height, width = re.fullmatch(
        r'(smooth_)?atd_light_(fke_)?(nosub_)?x(\d)_(\d+)x(\d+)', name
    ).groups(default='')
    dtype, bound = (torch.float32, 2e-5) if smooth else (torch.float64, 1e-9)
    options = {'tile': None} if whole else {}
    net = fill(NETWORKS[fke](upscale=int(upscale), **options), published_key, dtype, bool(smooth)).eval()
    upscaled = net(image(int(height), int(width)).to(dtype)).double()
    assert upscaled.shape[-2:] == (int(height) * int(upscale), int(width) * int(upscale))
    assert float((upscaled[..., ::5, ::7] - torch.from_numpy(GOLDEN[name])).abs().max()) < bound


@pytest.mark.parametrize('network', NETWORKS.values())
@pytest.mark.parametrize('options', [{'tile': None}, {'tile': 12, 'tile_overlap': 4}, {'self_ensemble': True}])
@torch.no_grad()
def test_a_batch_equals_its_images_one_by_one(network: type[ATD], options: dict) -> None:
    """Also for sides that are no multiple of the window, where the published masks go to the wrong windows."""
    net, x = small(network, **options).double(), torch.rand(3, 3, 9, 14, dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([net(part) for part in x.split(1)]), rtol=0, atol=1e-12)


@pytest.mark.parametrize('network', NETWORKS.values())
@torch.no_grad()
def test_every_size_from_one_pixel(network: type[ATD]) -> None:
    net = small(network, upscale=3, tile=6, tile_overlap=2)
    for height, width in [(1, 1), (1, 9), (2, 1), (3, 5), (4, 4), (7, 13)]:
        upscaled = net(torch.rand(1, 3, height, width))
        assert upscaled.shape == (1, 3, 3 * height, 3 * width)
        assert upscaled.isfinite().all()


@torch.no_grad()
def test_tiles_add_up_to_one_at_every_size() -> None:
    """A network that returns its bias: tiles that added up to more would show as brighter strips."""
    net = ATD(upscale=2, width=4, depths=[1], heads=1, window=2, tile=64, tile_overlap=16).double().eval()
    for parameter in net.parameters():
        parameter.zero_()
    net.upsampler.expand0.bias.fill_(0.25)
    expected = 0.25 + torch.tensor(net.mean, dtype=torch.float64)[:, None]
    for size in [*range(64, 216), 257, 269]:
        upscaled = net(torch.zeros(1, 3, 1, size, dtype=torch.float64))[0, :, 0]
        torch.testing.assert_close(upscaled, expected.expand_as(upscaled), rtol=0, atol=1e-14)


class Bodiless(ATD):
    """A network without a body: its convolutions alone decide what is seen of the neighbourhood."""

    def _run_blocks(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return x


@torch.no_grad()
def test_tiles_see_their_neighbours_in_the_first_convolution() -> None:
    """Without anything behind it that looks further, tiles are the whole image but for their outermost pixels."""
    options = {'width': 4, 'depths': [1], 'heads': 1, 'window': 2, 'upscale': 2}
    torch.manual_seed(0)
    whole = Bodiless(**options).double().eval()
    tiled = Bodiless(**options, tile=16, tile_overlap=4).double().eval()
    # The convolutions behind the first look no further than their own pixel.
    for conv in (whole.exit_conv, whole.upsampler.expand0):
        kept = conv.weight[..., 1, 1].clone()
        conv.weight.zero_()
        conv.weight[..., 1, 1] = kept
    tiled.load_state_dict(whole.state_dict())
    x = torch.rand(2, 3, 30, 44, dtype=torch.float64)
    torch.testing.assert_close(tiled(x), whole(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize('network', NETWORKS.values())
@torch.no_grad()
def test_one_tile_is_the_whole_image(network: type[ATD]) -> None:
    x = torch.rand(1, 3, 8, 12)
    assert torch.equal(small(network, tile=12, tile_overlap=4)(x), small(network, tile=None)(x))
    assert torch.equal(small(network, tile='auto', tile_overlap=None)(x), small(network, tile=None)(x))


@torch.no_grad()
def test_automatic_tiles_are_those_of_the_size_that_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    automatic, fixed = small(tile='auto'), small(tile=64, tile_overlap=16)
    monkeypatch.setattr(memory, 'free_memory', lambda device: 80 * 80 * automatic.cost)
    x = torch.rand(1, 3, 90, 70)
    with caplog.at_level(logging.INFO, 'deeprftv2_arch'):
        assert torch.equal(automatic(x), fixed(x))
    assert 'Upscaling blended tiles of 64 pixels that share 16.' in caplog.messages


@pytest.mark.parametrize('network', NETWORKS.values())
@torch.no_grad()
def test_the_self_ensemble_knows_no_direction(network: type[ATD]) -> None:
    """Turning or flipping the image turns or flips the result; without the ensemble it does not."""
    net, x = small(network, self_ensemble=True).double(), torch.rand(1, 3, 6, 9, dtype=torch.float64)
    plain = small(network).double()
    for turn in (lambda y: y.flip(-1), lambda y: y.rot90(1, (-2, -1)), lambda y: y.transpose(-2, -1)):
        torch.testing.assert_close(net(turn(x)), turn(net(x)), rtol=0, atol=1e-12)
        assert not torch.allclose(plain(turn(x)), turn(plain(x)), rtol=0, atol=1e-6)
    assert torch.equal(net.train()(x), plain.train()(x))


@torch.no_grad()
def test_estimators_are_chained_and_each_is_followed_by_the_norm_of_the_entry() -> None:
    net, x = small(ATDFKE, tile=None, fke_window=None).double(), torch.rand(1, 12, 8, dtype=torch.float64)
    state, residuals = x, None
    for block, estimator in zip(net.blocks, net.estimators, strict=True):
        features = block(state, (3, 4)).unflatten(1, (3, 4)).permute(0, 3, 1, 2)
        output = estimator(features, residuals=residuals)
        state, residuals = net.entry_norm(output.feature.permute(0, 2, 3, 1).flatten(1, 2)), output.residuals
    torch.testing.assert_close(net._run_blocks(x, (3, 4)), state)


def test_the_image_is_in_float32_under_autocast() -> None:
    net, x = small(ATDFKE).train(), torch.rand(1, 3, 8, 12)
    with torch.autocast('cpu', torch.bfloat16):
        upscaled = net(x)
    assert upscaled.dtype == torch.float32
    upscaled.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_the_untrained_network_has_the_published_spread() -> None:
    torch.manual_seed(0)
    net = ATDFKE()
    for name, parameter in net.named_parameters():
        module = net.get_submodule(name.rpartition('.')[0])
        if isinstance(module, torch.nn.Linear) and not name.rpartition('.')[0].endswith(('x_proj', 'dt_proj')):
            if parameter.dim() > 1:
                assert abs(float(parameter.detach().std()) / 0.02 - 1) < 0.25
            else:
                assert not parameter.any()
    assert abs(float(net.blocks[0].dictionary.std()) - 1) < 0.05
    assert net.estimators[0].levels[0].block.scan.x_proj.weight.std() > 0.04


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'heads': 5}, 'heads must divide width'),
        ({'window': 5}, 'window must be even'),
        ({'ffn_kernel': 4}, 'ffn_kernel odd'),
        ({'depths': []}, 'depths'),
        ({'depths': [6, 10_000]}, 'depths asks for 10,006 blocks; at most 1,000'),
        ({'upscale': 0}, 'upscale'),
        ({'exit_convs': 2}, 'exit_convs must be 1 or 3'),
        ({'upsampler': 'bicubic'}, "unknown upsampler 'bicubic'"),
        ({'tile': 16, 'tile_overlap': 16}, 'overlap must be in'),
        ({'tile': 0}, 'window size must be at least 1'),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict, message: str) -> None:
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        ATD(**options)
