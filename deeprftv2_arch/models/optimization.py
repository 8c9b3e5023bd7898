"""Optimizer and learning rate from the ``train`` section of an option file, with the released settings as defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from deeprftv2_arch.config.schema import OPTIMIZERS, SCHEDULER
from deeprftv2_arch.config.validators import number, positive_integer, reject_unknown_keys
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.suggest import nearest

RELEASED_ADAMW = {'lr': 1e-3, 'betas': (0.9, 0.9), 'weight_decay': 1e-3}
RELEASED_MIN_LR = 1e-7
RELEASED_GRAD_CLIP = 0.01

_BASICSR_SCHEDULERS = {
    'MultiStepLR': MultiStepRestartLR,
    'MultiStepRestartLR': MultiStepRestartLR,
    'CosineAnnealingRestartLR': CosineAnnealingRestartLR,
}


def build_optimizer(parameters: Iterable[nn.Parameter], train: Mapping[str, Any]) -> Optimizer:
    """Build ``train.optim_g``: a class of ``torch.optim`` with its arguments, over one group of parameters.

    BasicSR 1.4.2 knows Adam alone. ``AdamW``, the default, starts from the released lr 1e-3, betas (0.9, 0.9) and
    weight decay 1e-3.

    Raises:
        UserError: If there is no such optimizer, or if it does not take the options.
    """
    options = {'type': 'AdamW', **(train.get('optim_g') or {})}
    kind = options.pop('type')
    if kind == 'AdamW':
        options = {**RELEASED_ADAMW, **options}
    if kind not in OPTIMIZERS:
        known = ', '.join(OPTIMIZERS)
        raise UserError(f'train.optim_g.type: {kind!r} is not one of {known}{nearest(str(kind), OPTIMIZERS)}.')
    number(options, 'lr', 'train.optim_g')
    try:
        return getattr(torch.optim, kind)(parameters, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f'train.optim_g: {kind} does not take these options: {error}.') from error


def build_scheduler(optimizer: Optimizer, train: Mapping[str, Any]) -> LRScheduler:
    """Build ``train.scheduler``, which BasicSR steps once an iteration, from the second one on.

    ``CosineAnnealingLR``, the default, goes from the optimizer's rate to ``eta_min`` (default 1e-7) over ``T_max``
    iterations (default ``total_iter``), as torch's class of that name does. The rate is computed in closed form from
    the iteration alone, so that neither a warm-up nor a resumed training moves the curve. BasicSR's own schedulers
    take the options that they take in ``SRModel``.

    Raises:
        UserError: If there is no such scheduler, or if it does not take the options.
    """
    options = {'type': 'CosineAnnealingLR', **(train.get('scheduler') or {})}
    kind = options.pop('type')
    if kind == 'CosineAnnealingLR':
        return _cosine(optimizer, options, positive_integer(train, 'total_iter', 'train'))
    if kind not in _BASICSR_SCHEDULERS:
        known = ('CosineAnnealingLR', *_BASICSR_SCHEDULERS)
        raise UserError(f'train.scheduler.type: {kind!r} is not one of {", ".join(known)}{nearest(str(kind), known)}.')
    try:
        return _BASICSR_SCHEDULERS[kind](optimizer, **options)
    except (TypeError, AssertionError) as error:
        raise UserError(f'train.scheduler: {kind} does not take these options: {error}.') from error


def _cosine(optimizer: Optimizer, options: dict[str, Any], total_iter: int) -> LRScheduler:
    options = {'T_max': total_iter, 'eta_min': RELEASED_MIN_LR, **options}
    reject_unknown_keys(options, SCHEDULER.names, 'train.scheduler')
    period = positive_integer(options, 'T_max', 'train.scheduler')
    if period < total_iter:
        raise UserError(f'train.scheduler.T_max: {period} is less than total_iter: {total_iter}, where it must end.')
    return CosineAnnealingRestartLR(optimizer, periods=[period], eta_min=number(options, 'eta_min', 'train.scheduler'))
