"""The network options of the paper's ablations: gradients, and what each option does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeprftv2_arch.archs.deeprftv2_arch import DeepRFTv2
from deeprftv2_arch.nn.column_state import Scaling
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.fke_design import EstimatorDesign, ResBlock
from deeprftv2_arch.nn.pyramid import image_pyramid

DESIGNS = [
    {'fke_block': 'res'},
    {'fke_block': 'res', 'fke_activation': False, 'fke_depths': [1, 2, 1, 1]},
    {'fke_block': 'naf', 'fke_depths': [2, 2, 2, 2]},
    {'fke_domain': 'spatial'},
    {'fke_domain': 'spatial', 'fke_block': 'res', 'fke_window': 16, 'fke_overlap': 8},
    {'fke_input': 'image'},
    {'fke_input': 'restored'},
    {'fke_input': 'encoder'},
    {'fke_input': 'encoder', 'fke_target': 'decoder'},
    {'fke_target': 'restored', 'fke_operation': 'add'},
    {'fke_skip': False},
    {'layout': 'mimo', 'block_types': [['naf'] * 3], 'fke': False},
    {'layout': 'mimo', 'block_types': [['naf'] * 3], 'fke_input': 'restored'},
]


def network(**options: object) -> DeepRFTv2:
    """Three narrow columns whose every branch is switched on, in float64."""
    torch.manual_seed(1)
    small = {'width': 4, 'num_blocks': [1, 1, 1], 'block_types': [['naf'] * 3] * 2, 'num_columns': 3}
    net = DeepRFTv2(**{**small, **options}).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for name, parameter in net.named_parameters():
            if options.get('fke_domain') == 'spatial' and 'head.project' in name:
                parameter.div_(500)  # sums over a kernel as large as the map are then like one value of a spectrum
    return net


def gradients(net: DeepRFTv2, x: Tensor, reversible: bool) -> dict[str, Tensor]:
    net.reversible = reversible
    net.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(2)
    outputs = [output for images in net(x, return_all=True) for output in images]
    sum((output * torch.randn_like(output)).sum() for output in outputs).backward()
    return {'image': x.grad, **{key: parameter.grad.clone() for key, parameter in net.named_parameters()}}


@pytest.mark.parametrize('options', DESIGNS, ids=str)
@pytest.mark.parametrize('floor', [0.3, 1e-3])
def test_reversible_gradients_equal_those_of_autograd(options: dict, floor: float) -> None:
    net, x = network(**options), torch.rand(1, 3, 24, 32, dtype=torch.float64)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, Scaling):
                module.weight.uniform_(floor, 2 * floor)
    ours, autograd = gradients(net, x, True), gradients(net, x, False)
    for key, expected in autograd.items():
        assert expected.isfinite().all()
        if not expected.any():
            assert not ours[key].any(), key
        else:
            assert (ours[key] - expected).norm() < 1e-10 * expected.norm(), key
    untouched = {key for key, gradient in autograd.items() if not gradient.any()}
    # In the first column there is no old map to scale, and a mean-free update cannot be seen by the norm behind it.
    assert all('columns.0' in key and 'scalings' in key for key in untouched), untouched


def test_a_res_block_is_two_convolutions_with_a_relu_between() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 5)
    for activation in (True, False):
        block = ResBlock(4, activation)
        hidden = F.conv2d(x, block.first.weight, block.first.bias, padding=1)
        hidden = hidden.clamp(min=0) if activation else hidden
        expected = x + F.conv2d(hidden, block.second.weight, block.second.bias, padding=1)
        torch.testing.assert_close(block(x), expected)


class Fixed(nn.Module):
    """Returns one map whatever it is given."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, *_: Tensor) -> Tensor:
        return self.value


@torch.no_grad()
def test_a_spatial_estimator_convolves_with_the_map_that_it_predicts() -> None:
    torch.manual_seed(0)
    kernel = torch.zeros(1, 2, 8, 6)
    kernel[..., 0, 0], kernel[..., 2, 1] = 0.25, 0.75
    estimator = FourierKernelEstimator(2, image_channels=None, design=EstimatorDesign(domain='spatial'))
    estimator.convolution.head.project = Fixed(kernel)
    nn.init.dirac_(estimator.convolution.project.weight)
    estimator.convolution.fuse.weight.zero_()
    nn.init.dirac_(estimator.convolution.fuse.weight[:, :2])
    feature = torch.rand(1, 2, 8, 6)
    output = estimator(feature)
    assert output.residuals[0].shape == feature.shape
    expected = 0.25 * feature + 0.75 * feature.roll((2, 1), (2, 3))
    torch.testing.assert_close(output.feature, expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_adding_a_kernel_to_the_spectrum_adds_it_to_the_feature() -> None:
    torch.manual_seed(0)
    design = EstimatorDesign(domain='spatial', operation='add')
    estimator = FourierKernelEstimator(2, image_channels=None, design=design)
    estimator.convolution.head.project = Fixed(kernel := torch.rand(1, 2, 8, 6))
    nn.init.dirac_(estimator.convolution.project.weight)
    estimator.convolution.fuse.weight.zero_()
    nn.init.dirac_(estimator.convolution.fuse.weight[:, :2])
    feature = torch.rand(1, 2, 8, 6)
    torch.testing.assert_close(estimator(feature).feature, feature + kernel, rtol=0, atol=1e-6)


@pytest.mark.parametrize('name', ['decoder', 'encoder', 'restored', 'image'])
@torch.no_grad()
def test_estimators_read_and_convolve_what_the_options_name(name: str) -> None:
    net, seen = network(fke_input=name, num_columns=1).eval(), {}
    unet = net.columns[0].unets[0]
    watched = {
        'decoder': unet.decoder.levels[-1],
        'encoder': unet.encoder.levels[0],
        'restored': unet.head,
        'source': unet.fke.levels[0].entry.project,
        'target': unet.fke.convolution.project,
    }
    for key, module in watched.items():
        is_input = key in ('source', 'target')
        module.register_forward_hook(
            lambda _, inputs, output, key=key, is_input=is_input: seen.update({key: inputs[0] if is_input else output})
        )
    x = torch.rand(1, 3, 16, 24, dtype=torch.float64)
    restored = net(x, return_all=True)[0][0]
    expected = {'image': x, 'restored': restored, 'encoder': seen['encoder']}
    if name == 'decoder':
        # The decoder's update is added to nothing in the first column.
        expected['decoder'] = seen['decoder']
    torch.testing.assert_close(seen['source'], expected[name])
    torch.testing.assert_close(seen['target'], expected[name])
    if name == 'restored':
        torch.testing.assert_close(restored, seen['restored'] + x)


@torch.no_grad()
def test_a_mimo_unet_restores_every_level_from_its_image() -> None:
    net = network(layout='mimo', block_types=[['naf'] * 3], fke=False, num_columns=1).eval()
    x = torch.rand(1, 3, 20, 28, dtype=torch.float64)
    outputs = net(x, return_all=True)
    assert [[tuple(image.shape[-2:]) for image in images] for images in outputs] == [[(20, 28)], [(10, 14)], [(5, 7)]]
    for tail in net.columns[0].unets[0].tails:
        tail.weight.zero_()
        tail.bias.zero_()
    for (image,), expected in zip(net(x, return_all=True), image_pyramid(x, 3), strict=True):
        torch.testing.assert_close(image, expected)


@torch.no_grad()
def test_tiles_of_a_mimo_unet_cover_all_its_outputs() -> None:
    net = network(layout='mimo', block_types=[['naf'] * 3], fke=False, num_columns=1, tile=16, tile_overlap=8).eval()
    outputs = net(torch.rand(1, 3, 20, 28, dtype=torch.float64), return_all=True)
    assert [tuple(images[0].shape[-2:]) for images in outputs] == [(20, 28), (10, 14), (5, 7)]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'fke_block': 'resnet'}, "unknown fke_block 'resnet'; choose from vs, naf, res"),
        ({'fke_domain': 'frequency'}, "unknown fke_domain 'frequency'"),
        ({'fke_operation': 'plus'}, "unknown fke_operation 'plus'"),
        ({'fke_depths': [1, 1]}, 'fke_depths needs 4 numbers'),
        ({'fke_depths': [1, 1, 0, 1]}, 'at least 1'),
        ({'fke_activation': False}, 'only fke_block res'),
        ({'fke_input': 'sharp'}, "unknown fke_input 'sharp'"),
        ({'fke_target': 'sharp'}, "unknown fke_target 'sharp'"),
        ({'layout': 'mimo'}, 'block_types needs one list, got 2'),
        ({'layout': 'unet'}, "unknown layout 'unet'"),
    ],
)
def test_options_that_make_no_network_are_named(options: dict, message: str) -> None:
    with torch.device('meta'), pytest.raises(ValueError, match=message):
        DeepRFTv2(**options)
