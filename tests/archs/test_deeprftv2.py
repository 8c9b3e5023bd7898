"""DeepRFTv2 against the published values and sizes, and as a user handles it."""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import pytest
import torch
from published import TOLERANCE, distance, fill, image, load
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.checkpoints.published_keys.deeprftv2 import published_key
from deeprftv2_arch.losses.frequency_loss import frequency_distance
from deeprftv2_arch.nn import memory
from deeprftv2_arch.nn.column_state import ColumnState, MapKey, MapKind, Scaling
from deeprftv2_arch.nn.pyramid import image_pyramid

GOLDEN = load('networks')
PLAIN = [['naf'] * 3] * 2
B, S = {}, {'block_types': PLAIN}
OPTIONS = {'B': (B, (1, 3, 64, 64)), 'S': (S, (2, 3, 96, 80))}
WINDOWS = {
    'B_eval_subimage64_ov16': {'tile': 64, 'tile_overlap': 16},
    'S_eval_subimage64_ov16': {**S, 'tile': 64, 'tile_overlap': 16},
    'SDPDD': {'block_types': [['localnaf'] * 3] * 2, 'train_size': 40, 'fke_window': 64, 'fke_overlap': 16},
    'BREDS_eval_img3': {
        'block_types': [['localnaf', 'localnafevs', 'localnafevs'], ['localnaf'] * 3],
        'train_size': 40,
        'scan_window': 64,
    },
}


@cache
def network(name: str, dtype: torch.dtype) -> DeepRFTv2:
    """B or S with the published parameter values; shared by the tests, which leave it as it is."""
    return fill(DeepRFTv2(**OPTIONS[name][0]), published_key, dtype).eval()


def thin(x: Tensor) -> Tensor:
    """What the golden files keep of an image."""
    return x[..., ::4, ::4]


@pytest.mark.parametrize(
    ('options', 'count'),
    [
        (B, 30_117_560),
        (S, 21_191_096),
        ({'num_columns': 1}, 15_040_156),  # 15.04 M in the paper
        ({**S, 'num_columns': 1}, 10_576_924),  # 10.58 M
        ({**S, 'fke': False}, 20_789_964),  # 20.79 M
        ({**S, 'num_columns': 1, 'fke': False}, 10_390_326),  # 10.39 M
    ],
)
def test_parameter_counts_are_the_papers(options: dict, count: int) -> None:
    with torch.device('meta'):
        assert sum(parameter.numel() for parameter in DeepRFTv2(**options).parameters()) == count


@pytest.mark.parametrize('name', OPTIONS)
@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
@torch.no_grad()
def test_every_output_has_the_published_values(name: str, dtype: torch.dtype) -> None:
    full, half = network(name, dtype)(image(1001, *OPTIONS[name][1]).to(dtype), return_all=True)
    for index in range(4):
        assert distance(thin(full[index]), GOLDEN[f'{name}.eval_img{index}']) < TOLERANCE[dtype]
        assert distance(thin(half[index]), GOLDEN[f'{name}.eval_mid{index}']) < TOLERANCE[dtype]


@pytest.mark.parametrize('name', OPTIONS)
def test_loss_and_every_gradient_have_the_published_values(name: str) -> None:
    net, shape = network(name, torch.float64), OPTIONS[name][1]
    sharp = image(1002, *shape).double()
    terms = []
    for outputs, truth in zip(net(image(1001, *shape).double(), return_all=True), image_pyramid(sharp, 2), strict=True):
        terms.append(sum((output - truth).abs().mean() for output in outputs) / 4)
        terms.append(0.01 * sum(frequency_distance(output, truth) for output in outputs) / 4)
    loss = sum(terms)
    for value, key in ((terms[0], 'pix'), (terms[1], 'fft'), (terms[2] + terms[3], 'deblur'), (loss, 'total')):
        assert abs(value.item() / GOLDEN[f'{name}.loss_{key}'] - 1) < 1e-12
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    keys = [published_key(key) for key, _ in net.named_parameters()]
    ours = dict(zip(keys, (gradient.norm().item() for gradient in gradients), strict=True))
    expected = dict(zip(load('published_keys')[f'{name}.keys'].tolist(), GOLDEN[f'{name}.grad_norms'], strict=True))
    assert ours.keys() == expected.keys()
    floor = 1e-12 * float(GOLDEN[f'{name}.grad_global_norm'])
    worst = max(abs(ours[key] - expected[key]) / (expected[key] + floor) for key in expected)
    assert worst < 1e-9


# Published name of a feature, our module whose output it is.
MODULES = {
    'patch_embed_{s}s': 'unets.{n}.encoder.levels.0.entry.project',
    'patch_embed_{s}s2': 'unets.{n}.encoder.levels.0.entry',
    'down_max{k}': 'unets.1.encoder.levels.{k0}.finer',
    'down_mid2max': 'unets.0.fusion.down',
    '{e}.r0': 'unets.{n}.fke.levels.0.entry',
    '{e}.otf': 'unets.{n}.fke.convolution.head',
}
# Published name of a feature, our map of the same column (its kind and level), and after how many updates.
MAPS = {
    'subnets_{s}.c{k0}': (MapKind.ENCODED, 'k0', 0),
    'fusd_max_2': (MapKind.ENCODED, 2, 1),
    'subdenets_{s}.c0': (MapKind.ENCODED, 1, 1),
    'subdenets_{s}.c1': (MapKind.ENCODED, 0, 1),
    'subdenets_{s}.c2': (MapKind.DECODED, 0, 0),
    '{e}.r{r}': (MapKind.RESIDUAL, 'r0', 0),
    '{e}.feature_deblur': (MapKind.DEBLURRED, 0, 0),
    '{e}.img_deblur': (MapKind.IMAGE, 0, 1),
}


class Watched(ColumnState):
    """A state that remembers every value of every map; the outputs of a scale under the key of its image."""

    def __init__(self, maps: dict[MapKey, Tensor]) -> None:
        super().__init__(maps)
        self.history: dict[MapKey, list[Tensor]] = {}

    def coupled_update(self, key: MapKey, scaling: Scaling, function: nn.Module, *inputs: MapKey | None) -> None:
        super().coupled_update(key, scaling, function, *inputs)
        self.history.setdefault(key, []).append(self.maps[key])

    def replace(self, key: MapKey, function: nn.Module, *inputs: MapKey) -> None:
        super().replace(key, function, *inputs)
        self.history.setdefault(key, []).append(self.maps[key])

    def output(self, function: nn.Module, key: MapKey, image: MapKey) -> None:
        super().output(function, key, image)
        self.history.setdefault(image, []).append(self.outputs[-1].image)


@torch.no_grad()
def test_every_feature_inside_has_the_published_values() -> None:
    net, golden, seen = network('B', torch.float32), load('trace'), {}
    pyramid = image_pyramid(image(1001, 1, 3, 64, 64), 2)
    state = Watched({MapKey(n, MapKind.IMAGE): part for n, part in enumerate(pyramid)})
    for column, module in enumerate(net.columns):
        state.history.clear()
        names = [
            {'n': n, 's': s, 'e': e, 'k': k, 'k0': k - 1, 'r': r, 'r0': r - 1}
            for n, (s, e) in enumerate((('max', 'kernel_estimator'), ('mid', 'mid_kernel_estimator')))
            for k in (1, 2, 3)
            for r in (1, 2, 3, 4)
        ]

        def watch(path: str, name: str) -> RemovableHandle:
            return module.get_submodule(path).register_forward_hook(  # noqa: B023  # used within the iteration
                lambda _, inputs, output: seen.update({name: output})
            )

        modules = {path.format(**n): f'col{column}.{name.format(**n)}' for name, path in MODULES.items() for n in names}
        handles = [watch(path, name) for path, name in modules.items()]
        module.update(state)
        for handle in handles:
            handle.remove()
        for name, (kind, level, index) in MAPS.items():
            for n in names:
                # The fusion into the latent is that of the finer scale alone.
                scale = 0 if name == 'fusd_max_2' else n['n']
                key = MapKey(scale, kind, n.get(level, level))
                seen[f'col{column}.{name.format(**n)}'] = state.history[key][index]
    for key in [key for key, feature in seen.items() if feature.is_complex()]:
        feature = seen.pop(key)
        seen[f'{key}_real'], seen[f'{key}_imag'] = feature.real, feature.imag
    assert golden.keys() <= seen.keys()
    for key in golden:
        assert distance(seen[key][:, ::12, ::4, ::4], golden[key]) < TOLERANCE[torch.float32], key


@pytest.mark.parametrize('name', WINDOWS)
@torch.no_grad()
def test_tiles_and_windows_have_the_published_values(name: str) -> None:
    net = fill(DeepRFTv2(**WINDOWS[name]), published_key).eval()
    x = image(1003, 1, 3, 112, 96).double()
    if name != 'SDPDD':
        assert distance(thin(net(x)), GOLDEN[f'windows.{name}']) < TOLERANCE[torch.float64]
        return
    for mode, keys in (('eval', ('img', 'mid')), ('train', ('img',))):
        for key, outputs in zip(keys, net.train(mode == 'train')(x, return_all=True), strict=False):
            for index, output in enumerate(outputs):
                golden = GOLDEN[f'windows.SDPDD_{mode}_{key}{index}']
                assert distance(thin(output), golden) < TOLERANCE[torch.float64]


TINY = {'width': 4, 'num_blocks': [1, 1, 2], 'block_types': [['naf', 'nafevs', 'nafevs'], ['naf'] * 3]}


def tiny(**options: object) -> DeepRFTv2:
    """A small network whose every branch is switched on."""
    torch.manual_seed(0)
    net = DeepRFTv2(**{**TINY, **options})
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(('beta', 'gamma', 'global_gain')):
                parameter.fill_(0.5)
    return net


@pytest.mark.parametrize('size', [(1, 1), (1, 9), (7, 5), (8, 8), (13, 30)])
@torch.no_grad()
def test_any_size_is_padded_with_zeros_and_cut_back(size: tuple[int, int]) -> None:
    net = tiny().eval()
    x = torch.rand(2, 3, *size)
    padded = torch.zeros(2, 3, -(-size[0] // 8) * 8, -(-size[1] // 8) * 8)
    padded[..., : size[0], : size[1]] = x
    full, half = net(x, return_all=True)
    assert torch.equal(net(x), full[-1])
    assert torch.equal(full[-1], net(padded)[..., : size[0], : size[1]])
    assert {tuple(output.shape) for output in full} == {(2, 3, *size)}
    assert {tuple(output.shape) for output in half} == {(2, 3, max(size[0] // 2, 1), max(size[1] // 2, 1))}


@torch.no_grad()
def test_a_batch_equals_its_images_one_by_one() -> None:
    for options in ({}, {'tile': 16, 'tile_overlap': 8}, {'fke_window': 16, 'fke_overlap': 8}):
        net, x = tiny(**options).double().eval(), torch.rand(3, 3, 24, 40, dtype=torch.float64)
        alone = torch.cat([net(part) for part in x.split(1)])
        torch.testing.assert_close(net(x), alone, rtol=0, atol=1e-12)


@torch.no_grad()
def test_one_tile_is_the_whole_image() -> None:
    x = torch.rand(1, 3, 24, 31)
    for tile in (32, 'auto', None):
        net = tiny(tile=tile).eval()
        assert torch.equal(net(x), net(x, return_all=True)[0][-1])
        assert torch.equal(net(x), tiny().eval()(x))


@torch.no_grad()
def test_automatic_tiles_are_those_of_the_size_that_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    automatic, fixed = tiny(tile='auto').eval(), tiny(tile=64, tile_overlap=16).eval()
    monkeypatch.setattr(memory, 'free_memory', lambda device: 100 * 100 * automatic.cost)
    x = torch.rand(1, 3, 100, 120)
    with caplog.at_level(logging.INFO, 'deeprftv2_arch'):
        for _ in range(2):
            assert torch.equal(automatic(x), fixed(x))
    told = 'Restoring blended tiles of 64 pixels that share 16.'
    assert [record.getMessage() for record in caplog.records].count(told) == 2  # once for each network


@torch.no_grad()
def test_whole_tiles_and_local_pooling_are_modes_of_one_set_of_weights(caplog: pytest.LogCaptureFixture) -> None:
    weights, x = tiny().state_dict(), torch.rand(1, 3, 48, 40)
    modes = {
        'Restoring whole images.': {},
        'Restoring blended tiles of 32 pixels that share 8.': {'tile': 32},
        'Restoring whole images, local pooling (TLC) for training size 16.': {'train_size': 16},
    }
    restored = []
    for told, options in modes.items():
        net = tiny(**options).eval()
        net.load_state_dict(weights)
        caplog.clear()
        with caplog.at_level(logging.INFO, 'deeprftv2_arch'):
            restored += [net(x), net(x)]
        assert [record.getMessage() for record in caplog.records if 'Restoring' in record.getMessage()] == [told]
    assert all(torch.equal(*pair) for pair in zip(restored[::2], restored[1::2], strict=True))
    assert not any(torch.allclose(restored[0], other, atol=1e-4) for other in (restored[2], restored[4]))
    # Within the window, 1.5 times the training size, pooling is that of the whole map.
    assert torch.equal(net(x[..., :24, :24]), tiny().eval()(x[..., :24, :24]))


@torch.no_grad()
def test_tiles_of_a_network_that_returns_its_input_return_the_input_at_every_size() -> None:
    net = DeepRFTv2(width=1, num_blocks=[0, 0], block_types=[['naf'] * 2] * 2, fke=False, tile=16, tile_overlap=8)
    for parameter in net.parameters():
        parameter.zero_()
    net.eval()
    for size in range(1, 201):
        x = torch.rand(2, 3, size, 3)
        torch.testing.assert_close(net(x), x, rtol=0, atol=1e-6)
        torch.testing.assert_close(net(x.transpose(2, 3)), x.transpose(2, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize('scales', [1, 2, 3])
@pytest.mark.parametrize('levels', [2, 3])
@pytest.mark.parametrize('fke', [True, False])
def test_other_numbers_of_scales_and_levels(scales: int, levels: int, fke: bool) -> None:
    net = DeepRFTv2(width=4, num_blocks=[1] * levels, block_types=[['nafevs'] * levels] * scales, fke=fke)
    outputs = net(torch.rand(1, 3, 20, 12), return_all=True)
    assert [len(images) for images in outputs] == [4 if fke else 2] * scales
    assert [images[-1].shape[-2:] for images in outputs] == [(20 >> n, 12 >> n) for n in range(scales)]


def test_zero_tails_start_as_the_identity() -> None:
    x = torch.rand(1, 3, 17, 24)
    assert torch.equal(tiny(zero_init_tails=True)(x), x)


def test_evaluating_changes_no_weight_and_training_keeps_the_scalings_off_zero() -> None:
    net = tiny().eval()
    scaling = net.columns[1].unets[0].encoder.scalings[0].weight
    with torch.no_grad():
        scaling[0, :3, 0, 0] = torch.tensor([1e-5, -1e-5, 0])
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        evaluated = net(x)
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    with torch.no_grad():
        trained = net.train()(x)
    np.testing.assert_array_equal(scaling[0, :3, 0, 0].detach().numpy(), np.float32([1e-3, -1e-3, 0]))
    assert torch.equal(trained, evaluated)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'block_types': [['naf', 'naf']]}, 'num_blocks has 3 levels'),
        ({'num_blocks': [1], 'block_types': [['naf']]}, 'at least two levels'),
        ({'block_types': [['naf', 'naf', 'bafevs']]}, "unknown block type 'bafevs'"),
        ({'block_types': [['localnaf'] * 3] * 2}, 'set train_size'),
        ({'tile': 100}, 'tile must be a positive multiple of 8'),
        ({'tile': -8}, 'tile must be a positive multiple of 8'),
        ({'tile': 64, 'tile_overlap': 64}, 'overlap must be in'),
        ({'fke_window': 64, 'fke_overlap': 64}, 'overlap must be in'),
        ({'num_columns': 0}, 'num_columns'),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict, message: str) -> None:
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        DeepRFTv2(**options)
