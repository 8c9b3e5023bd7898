"""The features that kernels, weights and images are computed from: a U-Net of NAFBlocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from deeprftv2_arch.nn.nafblock import NAFBlock
from deeprftv2_arch.nn.pointwise import PointwiseConv2d


class FeatureUNet(nn.Module):
    """Encoder and decoder of NAFBlocks with skips that are added.

    Args:
        image_channels: Channels K of the image.
        width: Channels C of the first level; every level has twice those of the one before.
        num_blocks: Blocks of each level, fine to coarse; the coarsest level is passed once, all others twice.

    Shape:
        (N, K, H, W), sides that are multiples of 2^(levels - 1) -> (N, C, H, W).
    """

    def __init__(self, image_channels: int, width: int, num_blocks: Sequence[int]) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(len(num_blocks))]
        self.entry = nn.Conv2d(image_channels, width, 3, padding=1)
        self.encoders = nn.ModuleList(_blocks(*level) for level in zip(widths[:-1], num_blocks[:-1], strict=True))
        self.middle = _blocks(widths[-1], num_blocks[-1])
        self.decoders = nn.ModuleList(_blocks(*level) for level in zip(widths[:-1], num_blocks[:-1], strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(channels, 2 * channels, 2, stride=2) for channels in widths[:-1])
        self.ups = nn.ModuleList(PointwiseConv2d(2 * channels, 4 * channels, bias=False) for channels in widths[:-1])
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, image: Tensor) -> Tensor:
        x = self.entry(image)
        skips = []
        for blocks, down in zip(self.encoders, self.downs, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = self.middle(x)
        for blocks, up, skip in reversed(list(zip(self.decoders, self.ups, skips, strict=True))):
            x = blocks(self.shuffle(up(x)) + skip)
        return x


def _blocks(channels: int, number: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(number)))
