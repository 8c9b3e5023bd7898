"""Optimizers and schedules against torch's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deeprftv2_arch.config.schema import DeblurTrainOptions
from deeprftv2_arch.models.optimization import build_optimizer, build_scheduler
from deeprftv2_arch.utils.errors import UserError


def training(total_iter: int = 10, **options: Any) -> DeblurTrainOptions:
    return DeblurTrainOptions(total_iter=total_iter, **options)


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3))]


def rates(scheduler, steps: int) -> list[float]:
    values = []
    for _ in range(steps):
        values.append(scheduler.optimizer.param_groups[0]['lr'])
        scheduler.optimizer.step()
        scheduler.step()
    return values


def test_defaults_are_those_of_the_released_training():
    optimizer = build_optimizer(parameters(), training())
    assert type(optimizer) is torch.optim.AdamW
    defaults = optimizer.defaults
    assert (defaults['lr'], defaults['betas'], defaults['weight_decay']) == (1e-3, (0.9, 0.9), 1e-3)


def test_optimizer_takes_its_own_training():
    optimizer = build_optimizer(parameters(), training(optim_g={'type': 'SGD', 'lr': 0.5, 'momentum': 0.25}))
    assert type(optimizer) is torch.optim.SGD
    assert (optimizer.defaults['lr'], optimizer.defaults['momentum'], optimizer.defaults['weight_decay']) == (
        0.5,
        0.25,
        0,
    )


def test_cosine_follows_torch():
    steps = 400
    ours = build_scheduler(build_optimizer(parameters(), training()), training(total_iter=steps))
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(build_optimizer(parameters(), training()), steps, eta_min=1e-7)
    expected = rates(theirs, steps)
    assert rates(ours, steps) == pytest.approx(expected, rel=1e-9)
    assert expected[0] == 1e-3
    assert ours.optimizer.param_groups[0]['lr'] == pytest.approx(1e-7, rel=1e-9)


def test_basicsr_schedulers_can_be_named():
    options = {'type': 'MultiStepLR', 'milestones': [2, 3], 'gamma': 0.5}
    scheduler = build_scheduler(build_optimizer(parameters(), training()), training(total_iter=5, scheduler=options))
    assert rates(scheduler, 5) == [1e-3, 1e-3, 5e-4, 2.5e-4, 2.5e-4]


@pytest.mark.parametrize(
    ('optimizer', 'message'),
    [
        ({'type': 'AdamWW'}, r"optim_g\.type: 'AdamWW'.*did you mean 'AdamW'"),
        ({'type': 'Adam'}, r'optim_g\.lr: expected a number'),
        ({'type': 'AdamW', 'lr': '1e-3'}, r'optim_g\.lr: .*write 1\.0e-3'),
        ({'type': 'AdamW', 'momentum': 0.9}, r'optim_g: AdamW does not take these options: .*momentum'),
        ({'type': 'AdamW', 'betas': [0.9, 2]}, r'optim_g: AdamW does not take these options: .*beta'),
    ],
)
def test_wrong_optimizers_are_named(optimizer, message):
    with pytest.raises(UserError, match=message):
        build_optimizer(parameters(), training(optim_g=optimizer))


@pytest.mark.parametrize(
    ('scheduler', 'message'),
    [
        ({'type': 'CosineAnealingLR'}, r"scheduler\.type: .*did you mean 'CosineAnnealingLR'"),
        ({'T_max': 5}, r'scheduler\.T_max: 5 is less than total_iter: 10'),
        ({'t_max': 10}, r"scheduler\.t_max: unknown key for CosineAnnealingLR \(did you mean 'T_max'\?\)"),
        ({'eta_min': '1e-7'}, r'scheduler\.eta_min: .*Write 1\.0e-07'),
        ({'type': 'MultiStepLR', 'milestone': [1]}, 'scheduler: MultiStepLR does not take these options'),
    ],
)
def test_wrong_schedulers_are_named(scheduler, message):
    with pytest.raises(UserError, match=message):
        build_scheduler(build_optimizer(parameters(), training()), training(total_iter=10, scheduler=scheduler))
