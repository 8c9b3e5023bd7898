"""Photographs and a network to restore them with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.checkpoints.network_file import save_network_file
from deeprftv2_arch.restoration.network import RestorationNetwork
from deeprftv2_arch.restoration.restorer import Restorer

TINY = {'width': 8, 'num_blocks': [1, 1], 'block_types': [['naf', 'naf']], 'num_columns': 1, 'fke': False}


class Brighter(nn.Module):
    """Adds a little to every pixel, so that a test sees that it ran."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.02


@pytest.fixture
def restorer_of() -> Callable[..., Restorer]:
    """Make a restorer from any module."""

    def make(net: nn.Module, scale: int = 1, channels: int = 3, **options: object) -> Restorer:
        return Restorer(RestorationNetwork(net.eval(), 'test', scale, channels, cost=1), 'cpu', **options)

    return make


@pytest.fixture
def brighter(restorer_of: Callable[..., Restorer]) -> Restorer:
    return restorer_of(Brighter())


@pytest.fixture
def tiny_weights(tmp_path: Path) -> Path:
    """A file with a small random DeepRFTv2."""
    torch.manual_seed(0)
    return save_network_file(
        tmp_path / 'weights' / 'tiny.safetensors', 'DeepRFTv2', TINY, DeepRFTv2(**TINY).state_dict()
    )
