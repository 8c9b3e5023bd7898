"""Sub-encoder and sub-decoder of one scale (paper figure 4 (a), equations 9, 10, 12 and 14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from deeprftv2_arch.nn.column_state import ColumnState, MapKey, MapKind, Scaling
from deeprftv2_arch.nn.modules import TypedModuleList
from deeprftv2_arch.nn.pointwise import PointwiseConv2d, PointwiseFusion

# Makes the stack of blocks of a level: (channels, number of blocks, level) -> module.
StackFactory = Callable[[int, int, int], nn.Module]


class ImageEmbedding(nn.Module):
    """First features of a column: a 3x3 convolution of the image, fused with what the column before handed on.

    Args:
        image_channels: Channels K of the image.
        channels: Channels C of the features.
        fused: Whether a column comes before.

    Shape:
        (N, K, H, W), (N, C, H, W) or None -> (N, C, H, W).
    """

    def __init__(self, image_channels: int, channels: int, fused: bool) -> None:
        super().__init__()
        self.project = nn.Conv2d(image_channels, channels, 3, padding=1, bias=False)
        self.fuse = PointwiseFusion(2 * channels, channels) if fused else None

    def forward(self, image: Tensor, previous: Tensor | None = None) -> Tensor:
        features = self.project(image)
        return features if self.fuse is None else self.fuse(features, previous)


class EncoderLevel(nn.Module):
    """One level of a sub-encoder: entry, fusion with what comes in beside it, blocks.

    Args:
        entry: :class:`ImageEmbedding` for the first level, a strided 2x2 convolution for the others.
        blocks: The stack of blocks.
        channels: Channels C of the level.
        finer: Brings the same level of the next finer scale to this size; in a MIMO-UNet, the image of this size to C
            channels. None if nothing comes in.

    Shape:
        (N, K, H, W), the features before or the image; (N, C, H, W) or None, handed on by the column before (first
        level only); (N, C, 2h, 2w), the finer scale, or (N, K, h, w), the image, or None -> (N, C, h, w).
    """

    def __init__(self, entry: nn.Module, blocks: nn.Module, channels: int, finer: nn.Module | None) -> None:
        super().__init__()
        self.entry = entry
        self.finer = finer
        self.merge = None if finer is None else PointwiseFusion(2 * channels, channels)
        self.blocks = blocks

    def forward(self, x: Tensor, previous: Tensor | None = None, finer: Tensor | None = None) -> Tensor:
        x = self.entry(x) if previous is None else self.entry(x, previous)
        if self.merge is not None and self.finer is not None:
            x = self.merge(x, self.finer(finer))
        return self.blocks(x)


class DecoderLevel(nn.Module):
    """One level of a sub-decoder: blocks, then twice the size (pixel shuffle), except for the last level.

    Shape:
        (N, C, H, W) -> (N, C_next, 2H, 2W), or (N, C, H, W) for the last level.
    """

    def __init__(self, blocks: nn.Module, channels: int, next_channels: int | None) -> None:
        super().__init__()
        self.blocks = blocks
        self.up = None if next_channels is None else PointwiseConv2d(channels, 4 * next_channels, bias=False)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(x)
        return x if self.up is None else self.shuffle(self.up(x))


class LatentFusion(nn.Module):
    """Bring the restored feature of the coarser scale into the latent of the finer one.

    Args:
        channels: Channels C of the coarser scale's feature.
        latent_channels: Channels L of the latent.
        reduction: How many times larger the coarser scale's feature is than the latent, per side.

    Shape:
        (N, C, h * reduction, w * reduction), (N, L, h, w) -> (N, L, h, w).
    """

    def __init__(self, channels: int, latent_channels: int, reduction: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, latent_channels, reduction, stride=reduction, bias=False)
        self.merge = PointwiseFusion(2 * latent_channels, latent_channels)

    def forward(self, coarser: Tensor, latent: Tensor) -> Tensor:
        return self.merge(self.down(coarser), latent)


class SubEncoder(nn.Module):
    """Updates the encoded maps of a scale from its image, fine to coarse (equations 9 and 12).

    Args:
        image_channels: Channels of the image.
        widths: Channels of each level.
        depths: Blocks of each level.
        make_stack: Makes the stack of blocks of a level.
        is_first: Whether this is the first column.
        has_finer: Whether the encoder of the next finer scale comes in.
        has_pyramid: Whether the image of its size comes into every level, as in a MIMO-UNet; not with ``has_finer``.
    """

    def __init__(
        self,
        *,
        image_channels: int,
        widths: Sequence[int],
        depths: Sequence[int],
        make_stack: StackFactory,
        is_first: bool,
        has_finer: bool,
        has_pyramid: bool = False,
    ) -> None:
        super().__init__()
        self.is_first, self.has_finer, self.has_pyramid = is_first, has_finer, has_pyramid
        self.levels: TypedModuleList[EncoderLevel] = TypedModuleList()
        for level, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            entry: nn.Module
            if level == 0:
                entry = ImageEmbedding(image_channels, width, fused=not is_first)
            else:
                entry = nn.Conv2d(widths[level - 1], width, 2, stride=2, bias=False)
            blocks = make_stack(width, depth, level)
            finer = None
            if has_finer:
                finer = nn.Conv2d(width, width, 2, stride=2, bias=False)
            elif has_pyramid:
                finer = nn.Conv2d(image_channels, width, 3, padding=1, bias=False)
            self.levels.append(EncoderLevel(entry, blocks, width, finer))
        self.scalings: TypedModuleList[Scaling] = TypedModuleList(Scaling(width) for width in widths)

    def update(self, state: ColumnState, scale: int, previous: MapKind) -> None:
        """Update the encoded maps of a scale.

        Args:
            state: The maps.
            scale: The scale to work on.
            previous: The map of this scale that the column before handed on; not read in the first column.
        """
        source = MapKey(scale, MapKind.IMAGE)
        handed_on = None if self.is_first else MapKey(scale, previous)
        for index, (level, scaling) in enumerate(zip(self.levels, self.scalings, strict=True)):
            target = MapKey(scale, MapKind.ENCODED, index)
            finer = None
            if self.has_finer:
                finer = MapKey(scale - 1, MapKind.ENCODED, index)
            elif self.has_pyramid:
                finer = MapKey(index, MapKind.IMAGE)
            state.coupled_update(target, scaling, level, source, handed_on, finer)
            source, handed_on = target, None


class SubDecoder(nn.Module):
    """Updates the encoded maps of a scale, then its decoded map, coarse to fine (equations 10 and 14).

    In the first column the old values of the encoded maps are the encoder's: this is the skip of a U-Net.

    Args:
        widths: Channels of each level, fine to coarse.
        depths: Blocks of each level, fine to coarse.
        make_stack: Makes the stack of blocks of a level.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int], make_stack: StackFactory) -> None:
        super().__init__()
        self.levels: TypedModuleList[DecoderLevel] = TypedModuleList()
        self.scalings: TypedModuleList[Scaling] = TypedModuleList()
        for level in reversed(range(len(widths))):
            target_width = widths[level - 1] if level else None
            blocks = make_stack(widths[level], depths[level], level)
            self.levels.append(DecoderLevel(blocks, widths[level], target_width))
            self.scalings.append(Scaling(target_width or widths[0]))

    def update(self, state: ColumnState, scale: int) -> None:
        """Update the maps of a scale from its latent, the coarsest encoded map, which stays as it is."""
        levels = reversed(range(len(self.levels)))
        for index, level, scaling in zip(levels, self.levels, self.scalings, strict=True):
            source = MapKey(scale, MapKind.ENCODED, index)
            target = MapKey(scale, MapKind.ENCODED, index - 1) if index > 0 else MapKey(scale, MapKind.DECODED)
            state.coupled_update(target, scaling, level, source)
