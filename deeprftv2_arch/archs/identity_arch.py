"""The network that changes nothing: what it scores are the values of the blurred images themselves."""

from __future__ import annotations

from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn


@ARCH_REGISTRY.register()
class Identity(nn.Module):
    """Returns its input. It has no parameters and needs no checkpoint.

    The arguments of other networks are taken and ignored, so that any test file gives the values of its blurred
    images with ``--set network_g.type=Identity path.pretrain_network_g=~``.

    Shape:
        (N, K, H, W) -> (N, K, H, W), the same values.
    """

    test_mode = 'as it is, not restored'

    def __init__(self, **_ignored: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return a copy of the image."""
        return x.clone()
