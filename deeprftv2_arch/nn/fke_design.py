"""What the paper's tables 6 and 7 vary of a Fourier kernel estimator: its choices, and the blocks it reads with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.vsblock import VSBlock

LEVELS = 4

BLOCKS = ('vs', 'naf', 'res')
DOMAINS = ('fourier', 'spatial')
OPERATIONS = ('multiply', 'add')


@dataclass(frozen=True)
class EstimatorDesign:
    """How an estimator is built. The defaults are the published network's.

    Attributes:
        block: Block of the residual levels: ``vs`` (VSBlock), ``naf`` (NAFBlock with its feed-forward pair) or ``res``
            (two 3x3 convolutions with a ReLU between).
        depths: Blocks of each of the four levels.
        domain: Where the levels read the feature: ``fourier``, on the half spectrum, or ``spatial``, on the map itself;
            there they predict the kernel in the image plane, over the whole map, with its origin at pixel (0, 0).
        activation: False leaves the ReLU of the ``res`` block out; the other blocks have none.
        operation: ``multiply`` the spectrum of the feature by that of the kernel, or ``add`` the two.
        skip: Whether a level is fused with the next level of the column before.

    Raises:
        ValueError: A value that is none of these.
    """

    block: str = 'vs'
    depths: Sequence[int] = (1,) * LEVELS
    domain: str = 'fourier'
    activation: bool = True
    operation: str = 'multiply'
    skip: bool = True

    def __post_init__(self) -> None:
        for name, choices in (('block', BLOCKS), ('domain', DOMAINS), ('operation', OPERATIONS)):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f'unknown fke_{name} {value!r}; choose from {", ".join(choices)}')
        if len(self.depths) != LEVELS or min(self.depths) < 1:
            raise ValueError(f'fke_depths needs {LEVELS} numbers of at least 1, got {list(self.depths)}')
        if not self.activation and self.block != 'res':
            raise ValueError(f'fke_activation: only fke_block res has a ReLU to leave out, {self.block} has none')


class ResBlock(nn.Module):
    """``x + convolution(ReLU(convolution(x)))`` with 3x3 convolutions.

    Args:
        channels: Number of channels C.
        activation: Whether there is the ReLU.

    Shape:
        (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, activation: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = activation
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        update = self.first(x)
        if self.activation:
            update = torch.relu(update)
        return x + self.second(update)


def make_blocks(design: EstimatorDesign, channels: int, level: int) -> nn.Module:
    """Make the blocks of a residual level, (N, C, H, W) -> (N, C, H, W); one block stands alone, as published."""
    blocks: list[nn.Module] = []
    for _ in range(design.depths[level]):
        if design.block == 'res':
            blocks.append(ResBlock(channels, design.activation))
        elif design.block == 'naf':
            blocks.append(NAFBlock(channels))
        else:
            blocks.append(VSBlock(channels))
    return blocks[0] if len(blocks) == 1 else nn.Sequential(*blocks)
