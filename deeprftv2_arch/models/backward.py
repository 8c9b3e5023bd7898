"""The gradient of one step of the optimizer, from one batch in one or more micro batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deeprftv2_arch.models.precision import Precision
from deeprftv2_arch.models.supervision import supervise


def accumulate_gradient(
    net: nn.Module,
    lq: Tensor,
    gt: Tensor,
    *,
    criteria: Mapping[str, nn.Module],
    precision: Precision,
    all_outputs: bool,
    steps: int,
) -> tuple[dict[str, Tensor], Tensor]:
    """Add the gradient of a batch to that of the parameters; gradient and loss terms are those of the whole batch.

    Args:
        net: In training mode, perhaps wrapped by ``DistributedDataParallel``.
        lq: (N, C, H, W) in [0, 1].
        gt: Ground truth of the same number of images.
        criteria: Losses by name, see :func:`~deeprftv2_arch.models.supervision.supervise`.
        precision: How the network is run.
        all_outputs: Whether ``net`` takes ``return_all`` and every output is supervised.
        steps: Into how many micro batches the batch is split.

    Returns:
        The loss terms by name, and the restored images.

    Raises:
        UserError: If an output has not the size of its ground truth.
    """
    size = math.ceil(len(lq) / steps)
    batches = list(zip(lq.split(size), gt.split(size), strict=True))
    sums: dict[str, Tensor] = {}
    restored = []
    for number, (micro_lq, micro_gt) in enumerate(batches, 1):
        with _without_exchange(net) if number < len(batches) else nullcontext():
            if all_outputs:
                outputs = precision.run(net, micro_lq, return_all=True)
            else:
                outputs = [[precision.run(net, micro_lq)]]
            share = len(micro_lq) / len(lq)
            terms = {name: term * share for name, term in supervise(criteria, outputs, micro_gt).items()}
            torch.stack(list(terms.values())).sum().backward()
        for name, term in terms.items():
            sums[name] = sums.get(name, 0) + term.detach()
        restored.append(outputs[0][-1].detach())
    return sums, torch.cat(restored)


def _without_exchange(net: nn.Module) -> AbstractContextManager:
    """Keep gradients to this process: processes exchange them once a step, after the last micro batch."""
    return net.no_sync() if isinstance(net, DistributedDataParallel) else nullcontext()
