"""LPIPSLoss against the metric of the same name, on a stand-in for the published weights of AlexNet."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from basicsr.losses import build_loss
from torchvision.models import alexnet

from deeprftv2_arch.losses import LPIPSLoss
from deeprftv2_arch.metrics import lpips_alex
from deeprftv2_arch.metrics.lpips_alex import load_network
from deeprftv2_arch.utils.errors import UserError


@pytest.fixture(scope='module')
def trunk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights where torchvision has those of AlexNet."""
    pytest.importorskip('lpips', reason='the extra [lpips] is not installed')
    file = tmp_path_factory.mktemp('trunk') / 'alexnet.pth'
    torch.manual_seed(0)
    torch.save({f'features.{key}': value for key, value in alexnet().features.state_dict().items()}, file)
    return str(file)


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.rand(2, 2, 3, 40, 33, generator=torch.Generator().manual_seed(1)))


def test_is_the_metric_and_has_its_gradient(trunk, images):
    restored, sharp = images
    loss = build_loss({'type': 'LPIPSLoss', 'loss_weight': 0.5, 'trunk': trunk})
    values = [lpips_alex(*(x.permute(1, 2, 0).numpy() for x in pair), trunk) for pair in zip(*images, strict=True)]
    assert loss(restored, sharp).item() == pytest.approx(0.5 * sum(values) / 2, rel=1e-4)
    assert loss(sharp, sharp).item() == 0
    restored.requires_grad_()
    before = loss(restored, sharp)
    before.backward()
    step = 0.1 / restored.grad.norm()
    assert loss((restored - step * restored.grad).detach(), sharp) < before
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_computes_in_float32_under_autocast_and_stays_in_evaluation_mode(trunk, images):
    loss = LPIPSLoss(trunk=trunk).train()
    assert not any(module.training for module in loss.modules())
    expected = loss(*images)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(loss(*images), expected)


def test_moving_the_loss_leaves_the_network_of_the_metric(trunk):
    load_network.cache_clear()
    with torch.device('meta'):  # as option files are checked
        loss = LPIPSLoss(trunk=trunk)
    loss.to('meta')
    assert next(loss.parameters()).device.type == 'meta'
    assert next(load_network(Path(trunk)).parameters()).device.type == 'cpu'


def test_images_too_small_for_alexnet_are_refused(trunk):
    small = torch.rand(1, 3, 30, 64)
    with pytest.raises(UserError, match=r'31 x 31 pixels or more.*got 64 x 30.*gt_size'):
        LPIPSLoss(trunk=trunk)(small, small)


def test_without_the_package_the_message_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', None)
    load_network.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'lpips>=0\.1\.4'"):
        LPIPSLoss()
