"""Optimizer and learning rate from the ``train`` section of an option file, with the released settings as defaults."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from deeprftv2_arch.config.schema import OPTIMIZERS, CosineOptions, DeblurTrainOptions
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest

RELEASED_ADAMW = {'lr': 1e-3, 'betas': (0.9, 0.9), 'weight_decay': 1e-3}

_BASICSR_SCHEDULERS = {
    'MultiStepLR': MultiStepRestartLR,
    'MultiStepRestartLR': MultiStepRestartLR,
    'CosineAnnealingRestartLR': CosineAnnealingRestartLR,
}


def build_optimizer(parameters: Iterable[nn.Parameter], train: DeblurTrainOptions) -> Optimizer:
    """Build ``train.optim_g``: a class of ``torch.optim`` with its arguments, over one group of parameters.

    BasicSR 1.4.2 knows Adam alone. ``AdamW``, the default, starts from the released lr 1e-3, betas (0.9, 0.9) and
    weight decay 1e-3.

    Raises:
        UserError: If there is no such optimizer, or if it does not take the options.
    """
    options = {'type': 'AdamW', **(train.optim_g or {})}
    kind = options.pop('type')
    if kind == 'AdamW':
        options = {**RELEASED_ADAMW, **options}
    if kind not in OPTIMIZERS:
        known = ', '.join(OPTIMIZERS)
        raise UserError(f'train.optim_g.type: {kind!r} is not one of {known}{nearest(kind, OPTIMIZERS)}.')
    rate = options.get('lr')
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        hint = ' YAML takes 1e-3 for text: write 1.0e-3.' if isinstance(rate, str) else ''
        raise UserError(f'train.optim_g.lr: expected a number of at least 0, got {rate!r}.{hint}')
    try:
        return getattr(torch.optim, kind)(parameters, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f'train.optim_g: {kind} does not take these options: {error}.') from error


def build_scheduler(optimizer: Optimizer, train: DeblurTrainOptions) -> LRScheduler:
    """Build ``train.scheduler``, which BasicSR steps once an iteration, from the second one on.

    ``CosineAnnealingLR``, the default, goes from the optimizer's rate to ``eta_min`` (default 1e-7) over ``T_max``
    iterations (default ``total_iter``), as torch's class of that name does. The rate is computed in closed form from
    the iteration alone, so that neither a warm-up nor a resumed training moves the curve. BasicSR's own schedulers
    take the options that they take in ``SRModel``.

    Raises:
        UserError: If there is no such scheduler, or if it does not take the options.
    """
    options = {'type': 'CosineAnnealingLR', **(train.scheduler or {})}
    kind = options.pop('type')
    if kind == 'CosineAnnealingLR':
        curve = CosineOptions.read(options, 'train.scheduler', kind)
        period = curve.T_max or train.total_iter
        if period < train.total_iter:
            raise UserError(
                f'train.scheduler.T_max: {period} is less than total_iter: {train.total_iter}, where it must end.'
            )
        return CosineAnnealingRestartLR(optimizer, periods=[period], eta_min=curve.eta_min)
    if kind not in _BASICSR_SCHEDULERS:
        known = ('CosineAnnealingLR', *_BASICSR_SCHEDULERS)
        raise UserError(f'train.scheduler.type: {kind!r} is not one of {", ".join(known)}{nearest(kind, known)}.')
    try:
        return _BASICSR_SCHEDULERS[kind](optimizer, **options)
    except (TypeError, AssertionError) as error:
        raise UserError(f'train.scheduler: {kind} does not take these options: {error}.') from error
