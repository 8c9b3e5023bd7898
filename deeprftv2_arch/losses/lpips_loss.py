"""LPIPS as a training loss: how different two images look to a network trained to recognise things."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.metrics.lpips_alex import load_network
from deeprftv2_arch.nn.precision import at_least_float32, without_autocast
from deeprftv2_arch.utils.errors import UserError

# What AlexNet's convolutions and pools leave one value of.
SMALLEST_SIDE = 31


@LOSS_REGISTRY.register()
class LPIPSLoss(nn.Module):
    """Learned perceptual distance with AlexNet, version 0.1, of images in [0, 1]; of a batch, the mean.

    It is the metric `calculate_lpips` with a gradient, in float32 also under mixed precision. P2IKT and INIKNet train
    with it at weights of 0.2 and 0.1. It needs the package `lpips` and torchvision's AlexNet, which is downloaded at
    first use.

    Example::

        perceptual_opt:
          type: LPIPSLoss
          loss_weight: 0.1

    Args:
        loss_weight: Factor of the loss.
        trunk: File with the weights of torchvision's AlexNet; None to download them.

    Raises:
        UserError: The package or the weights are missing; and in the forward pass, images under 31 pixels.

    Source: Zhang et al., CVPR 2018.
    """

    def __init__(self, loss_weight: float = 1.0, trunk: str | None = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        # On the CPU, also where networks are built without memory to look at their arguments: the loaded network is
        # kept for the metric. For the same reason a copy is taken, which may be moved.
        with torch.device('cpu'):
            network = load_network(None if trunk is None else Path(trunk))
        self.network = copy.deepcopy(network)

    def train(self, mode: bool = True) -> LPIPSLoss:
        """Stay in evaluation mode: the network is not trained, and its dropout must not act."""
        return super().train(False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compare images.

        Args:
            pred: (N, 3, H, W) in [0, 1].
            target: (N, 3, H, W) in [0, 1].

        Returns:
            The weighted loss, a scalar.
        """
        if min(pred.shape[-2:]) < SMALLEST_SIDE:
            raise UserError(
                f'LPIPSLoss needs images of {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels or more, at every scale that is '
                f'supervised; got {pred.shape[-1]} x {pred.shape[-2]}. Train with larger crops (gt_size).'
            )
        with without_autocast(pred.device):
            distances = self.network(at_least_float32(pred), at_least_float32(target), normalize=True)
        return self.loss_weight * distances.mean()

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}'
