"""What we register keeps the contracts that are looked at while a program runs: to miss one would go unnoticed."""

from __future__ import annotations

import pytest
from basicsr.archs.edsr_arch import EDSR
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY
from deblur_models import loader

from deeprftv2_arch.models import DeblurModel
from deeprftv2_arch.utils import contracts


@pytest.mark.parametrize('is_train', [True, False])
def test_model(make_model, is_train):
    assert isinstance(make_model(is_train=is_train), contracts.StoppableModel)
    assert isinstance(DeblurModel, contracts.BatchPlanner)
    assert not isinstance(SRModel, contracts.BatchPlanner)


def test_data_sets(write_pairs):
    dataset = loader(write_pairs()).dataset
    assert isinstance(dataset, contracts.SampledDataset)
    assert isinstance(dataset, contracts.NamedDataset)


@pytest.mark.parametrize(
    ('name', 'options', 'all_outputs'),
    [
        ('DeepRFTv2', {'width': 4, 'num_blocks': [1, 1], 'block_types': [['naf'] * 2] * 2}, True),
        ('Identity', {}, False),
        ('Bicubic', {'upscale': 2}, False),
    ],
)
def test_networks(name, options, all_outputs):
    network = ARCH_REGISTRY.get(name)(**options)
    assert isinstance(network, contracts.NetworkWithTestMode)
    assert contracts.returns_all_outputs(network) == all_outputs


def test_networks_of_basicsr_say_nothing():
    network = EDSR(3, 3, num_feat=4, num_block=1, upscale=1)
    assert not isinstance(network, contracts.NetworkWithTestMode)
    assert not contracts.returns_all_outputs(network)


def test_metrics():
    mae = METRIC_REGISTRY.get('calculate_mae')
    assert isinstance(mae, contracts.MetricInfo)
    assert (mae.better, mae.unquantized) == ('lower', True)
    assert not isinstance(METRIC_REGISTRY.get('calculate_psnr'), contracts.MetricInfo)
