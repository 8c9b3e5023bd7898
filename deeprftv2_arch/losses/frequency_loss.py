"""The Fourier part of the training loss: the distance of two images, frequency by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.nn.precision import at_least_float32

_REDUCTIONS = ('none', 'mean', 'sum')


def frequency_distance(pred: Tensor, target: Tensor, reduction: str = 'mean') -> Tensor:
    """Compute the distance of two images in the Fourier domain, :math:`|F(pred) - F(target)|`.

    ``F`` is the real 2-D transform without normalisation (``norm='backward'``) over height and width; only the half
    spectrum that it returns is counted, every bin with the same weight. The modulus is that of the complex difference,
    so phase errors count as much as errors of magnitude. The gradient is zero, hence finite, where the images agree.

    >>> image = torch.zeros(1, 3, 8, 8)
    >>> frequency_distance(image + 0.5, image, 'none')[0, 0, 0]  # of a constant all but the DC bin are 0
    tensor([32.,  0.,  0.,  0.,  0.])

    Half precision is raised to float32 first: the sum over a 512 x 512 image does not fit in float16.

    Args:
        pred: Restored image, (..., H, W), any range.
        target: Sharp image of the same shape.
        reduction: ``'mean'`` over all bins, ``'sum'`` of them, or ``'none'``.

    Returns:
        A scalar, or (..., H, W // 2 + 1) for ``'none'``.

    Raises:
        ValueError: If the shapes differ or the reduction is unknown.

    Source: the 0.01-weighted frequency term of the DeepRFTv2 training loss.
    """
    if pred.shape != target.shape:
        raise ValueError(f'the images must have the same shape, got {tuple(pred.shape)} and {tuple(target.shape)}')
    if reduction not in _REDUCTIONS:
        raise ValueError(f'reduction must be one of {", ".join(_REDUCTIONS)}, got {reduction!r}')
    difference = at_least_float32(pred) - at_least_float32(target)
    # The transform is linear: one transform of the difference does the work of two, and rounds less.
    distance = torch.fft.rfft2(difference).abs()
    if reduction == 'mean':
        return distance.mean()
    if reduction == 'sum':
        return distance.sum()
    return distance


@LOSS_REGISTRY.register()
class FrequencyLoss(nn.Module):
    """:func:`frequency_distance` as BasicSR builds its losses from an option file.

    Example::

        fft_opt:
          type: FrequencyLoss
          loss_weight: 0.01
          reduction: mean

    Args:
        loss_weight: Factor of the loss. The paper takes 0.01 beside an L1 loss of weight 1.
        reduction: ``'mean'``, ``'sum'`` or ``'none'``.

    Raises:
        ValueError: If the reduction is unknown.
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Literal['none', 'mean', 'sum'] = 'mean') -> None:
        super().__init__()
        if reduction not in _REDUCTIONS:
            raise ValueError(f'reduction must be one of {", ".join(_REDUCTIONS)}, got {reduction!r}')
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, pred: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Compare one prediction, or several predictions of the same image, with the target.

        Args:
            pred: (N, C, H, W), or a non-empty sequence of such tensors, whose losses are averaged.
            target: (N, C, H, W).

        Returns:
            The weighted loss, a scalar unless the reduction is ``'none'``.
        """
        predictions = [pred] if isinstance(pred, Tensor) else pred
        if not predictions:
            raise ValueError('FrequencyLoss got an empty list of predictions')
        total = torch.zeros((), device=target.device)
        for image in predictions:
            total = total + frequency_distance(image, target, self.reduction)
        return self.loss_weight * total / len(predictions)

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, reduction={self.reduction!r}'
