"""FDIKP as a whole: what it starts from, its sizes, tiles, precision, and that every option does something."""

from __future__ import annotations

import inspect
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deeprftv2_arch.analysis.complexity import measure
from deeprftv2_arch.archs import FDIKP, WithFKE
from deeprftv2_arch.nn.fdikp.assumptions import ASSUMPTIONS
from deeprftv2_arch.nn.fdikp.position_adaptive import Deconvolved

ROOT = Path(__file__).parents[2]
SMALL = {
    'width': 4,
    'num_blocks': [1, 1, 1],
    'num_kernels': 2,
    'kernel_size': 5,
    'spectrum_tile': 8,
    'spectral_channels': 2,
    'state_channels': 3,
}
SWITCHES = {
    'branches': ['spatial', 'frequency'],
    'signed_gain': [True],
    'dilations': [[1, 2]],
    'domains': ['spatial', 'frequency'],
    'recurrent': [False],
    'spectral_window': [8],
    'num_scales': [1, 2],
    'num_kernels': [1],
    'kernel_size': [3],
    'spectrum_tile': [16],
    'num_blocks': [[2]],
}


def network(**options: object) -> FDIKP:
    """A small network with random weights everywhere, also where it starts at zero."""
    torch.manual_seed(0)
    net = FDIKP(**{**SMALL, **options})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net.eval()


def image(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize('size', [(16, 16), (13, 30), (1, 1)])
def test_starts_by_returning_its_input_bit_for_bit(size: tuple[int, int]) -> None:
    x = image(2, 3, *size)
    net = FDIKP(**SMALL, dilations=[1, 2])
    for mode in (net.train(), net.eval()):
        scales = mode(x, return_all=True)
        assert all(torch.equal(output, x) for output in scales[0])
        sizes = [[output.shape[-2:] for output in outputs] for outputs in scales]
        assert sizes == [[(max(size[0] >> n, 1), max(size[1] >> n, 1))] * 2 for n in range(3)]


@pytest.mark.parametrize(
    ('width', 'num_blocks', 'parameters', 'gmacs'),
    [(48, [2, 4, 6], 3_369_635, 37.64), (32, [2, 2, 4], 1_369_123, 16.68), (64, [2, 4, 6], 5_592_867, 61.63)],
)
def test_parameters_and_operations(width: int, num_blocks: list[int], parameters: int, gmacs: float) -> None:
    cost = measure(FDIKP(width=width, num_blocks=num_blocks), 256, 256)
    assert cost.parameters == parameters
    assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.005)


def test_defaults_are_the_assumptions() -> None:
    assumed = {key: value for assumption in ASSUMPTIONS for key, value in assumption.arguments.items()}
    signature = inspect.signature(FDIKP).parameters
    assert {name: parameter.default for name, parameter in signature.items()} == assumed


def test_the_page_shows_every_assumption() -> None:
    page = (ROOT / 'docs' / 'fdikp.md').read_text(encoding='utf-8')
    for assumption in ASSUMPTIONS:
        assert f'| {assumption.number} | {assumption.what} | {assumption.choice} | {assumption.reason} |' in page


def test_images_of_a_batch_are_restored_as_one_by_one() -> None:
    net, x = network().double(), image(3, 3, 24, 21, dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([net(one[None]) for one in x]), atol=1e-10, rtol=0)


def test_float32_agrees_with_float64() -> None:
    net, x = network(), image(1, 3, 32, 32)
    single = net(x)
    assert (net.double()(x.double()) - single).abs().max() < 1e-4 * single.abs().max()


@pytest.mark.parametrize(('name', 'value'), [(name, value) for name, values in SWITCHES.items() for value in values])
def test_every_option_changes_the_result_and_trains(name: str, value: object) -> None:
    x = image(1, 3, 32, 32)
    net = network(**{name: value})
    result = net(x)
    assert result.isfinite().all()
    assert not torch.equal(result, network()(x))
    outputs = net.train()(x, return_all=True)
    sum(output.square().mean() for scale in outputs for output in scale).backward()
    assert [key for key, parameter in net.named_parameters() if parameter.grad is None] == []


def test_the_coarser_scale_reaches_the_finer_one_in_two_ways() -> None:
    x = image(1, 3, 16, 16)
    net = network()
    whole = net(x)
    net.recurrent = False
    assert not torch.equal(net(x), whole)
    net.recurrent = True

    def without_stack(_module: nn.Module, _inputs: object, made: Deconvolved) -> Deconvolved:
        return made._replace(stack=torch.zeros_like(made.stack))

    net.deconvolve_previous.register_forward_hook(without_stack)
    assert not torch.equal(net(x), whole)


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        ({'width': 0}, 'width'),
        ({'num_scales': 0}, 'num_scales'),
        ({'state_channels': 0}, 'state_channels'),
        ({'num_blocks': []}, 'num_blocks'),
        ({'num_blocks': [1, -1]}, 'num_blocks'),
        ({'kernel_size': 6}, 'kernel_size'),
        ({'spectrum_tile': 5}, 'spectrum_tile'),
        ({'branches': 'three'}, 'branches'),
        ({'domains': 'time'}, 'domains'),
        ({'dilations': [0]}, 'dilations'),
        ({'tile': 50}, 'tile must be a positive multiple of 16'),
        ({'tile': 64, 'tile_overlap': 64}, 'overlap'),
    ],
)
def test_wrong_options_are_named(options: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        FDIKP(**{**SMALL, **options})


def test_half_precision_is_refused() -> None:
    with pytest.raises(ValueError, match='float32'):
        FDIKP(**SMALL).half()(image(1, 3, 16, 16).half())


class TestTiles:
    def test_one_tile_that_covers_the_image_is_the_whole_image(self) -> None:
        x = image(1, 3, 40, 52)
        assert torch.equal(network(tile=64)(x), network()(x))

    def test_each_tile_is_restored_by_itself_and_blended(self, caplog: pytest.LogCaptureFixture) -> None:
        x, net = image(1, 3, 32, 64), network(tile=32, tile_overlap=0)
        with caplog.at_level(logging.INFO, 'deeprftv2_arch'):
            tiled = net(x)
        assert net.test_mode == 'blended tiles of 32 pixels that share 0'
        assert net.test_mode in caplog.text
        # Away from the tile's border, where its pyramid is that of the whole image.
        assert (net(x[..., :32]) - tiled[..., :32])[..., :16].abs().max() < 0.1 * tiled.std()
        assert torch.equal(net(x, return_all=True)[0][-1], tiled)

    def test_before_training_tiles_blend_to_the_input(self) -> None:
        x = image(1, 3, 70, 90)
        torch.testing.assert_close(FDIKP(**SMALL, tile=32).eval()(x), x, atol=1e-6, rtol=0)

    def test_memory_is_that_of_a_tile(self) -> None:
        """No module sees or makes a map that grows with the image."""
        net, largest = network(tile=32), [0]

        def note(_module: nn.Module, _inputs: object, output: object) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            largest[0] = max([largest[0], *(part.numel() for part in tensors if isinstance(part, Tensor))])

        for module in net.modules():
            if module is not net:
                module.register_forward_hook(note)
        seen = []
        for size in (32, 96):
            largest[0] = 0
            with torch.no_grad():
                net(image(1, 3, size, size))
            seen.append(largest[0])
        assert seen[0] == seen[1] > 0

    def test_auto_takes_what_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr('deeprftv2_arch.nn.memory.free_memory', lambda device: 3e6)
        net = network(tile='auto')
        assert net(image(1, 3, 64, 128)).shape == (1, 3, 64, 128)
        assert net.test_mode.startswith('blended tiles of 64')


def test_spectra_stay_in_float32_under_autocast() -> None:
    net, x = network(width=16), image(1, 3, 32, 32)
    expected = net(x)
    seen = set()
    original = torch.fft.rfft2
    with pytest.MonkeyPatch.context() as patch, torch.autocast('cpu', torch.bfloat16):
        patch.setattr(torch.fft, 'rfft2', lambda x, *args, **kw: seen.add(x.dtype) or original(x, *args, **kw))
        mixed = net(x)
    assert seen == {torch.float32}
    assert mixed.dtype == torch.float32
    assert (mixed - expected).abs().max() < 0.1 * (expected - x).abs().max()
    assert not torch.equal(mixed, expected)


def test_takes_a_fourier_kernel_estimator_behind_its_features() -> None:
    torch.manual_seed(0)
    net = WithFKE({'type': 'FDIKP', **SMALL}, after='features', width=4, identity_init=True)
    x = image(1, 3, 32, 32)
    assert torch.equal(net(x), x)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    net(x).square().mean().backward()
    gradients = [parameter.grad for name, parameter in net.named_parameters() if 'features.fke' in name]
    assert gradients
    assert all(gradient is not None for gradient in gradients)
