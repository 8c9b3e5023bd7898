"""One column of DeepRFTv2: a UNet per scale, and the order in which they run (paper figure 3 (d))."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from deeprftv2_arch.nn.column_state import ColumnState, MapKey, MapKind
from deeprftv2_arch.nn.fke import FourierKernelEstimator
from deeprftv2_arch.nn.modules import TypedModuleList
from deeprftv2_arch.nn.unet import LatentFusion, SubDecoder, SubEncoder

# What `fke_input` and `fke_target` can name. A restored image and the image have its channels, the others the width.
FKE_INPUTS = {
    'decoder': MapKind.DECODED,
    'encoder': MapKind.KEPT,
    'restored': MapKind.RESTORED,
    'image': MapKind.IMAGE,
}
IMAGE_KINDS = (MapKind.RESTORED, MapKind.IMAGE)


def fke_map(argument: str, name: str) -> MapKind:
    """Return the map that ``fke_input`` or ``fke_target`` names.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in FKE_INPUTS:
        raise ValueError(f'unknown {argument} {name!r}; choose from {", ".join(FKE_INPUTS)}')
    return FKE_INPUTS[name]


class AddImage(nn.Module):
    """``head(feature) + image``, as a map that an estimator reads.

    Shape:
        (N, C, H, W), (N, K, H, W) -> (N, K, H, W).
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, feature: Tensor, image: Tensor) -> Tensor:
        return self.head(feature) + image


class ScaleUNet(nn.Module):
    """What one column has at one scale.

    Args:
        encoder: The sub-encoder.
        fusion: Brings what the coarser scale hands on into the latent; None at the coarsest scale.
        decoder: The sub-decoder.
        head: 3x3 convolution of the decoded map to the first image.
        fke: The estimator, which makes the second image; None for none.
        fke_source: The map that the estimator reads.
        fke_target: The map that it convolves.
        coarse_heads: 3x3 convolutions of the coarser levels to images of their sizes, second level first, as in a
            MIMO-UNet.
    """

    def __init__(
        self,
        *,
        encoder: SubEncoder,
        fusion: LatentFusion | None,
        decoder: SubDecoder,
        head: nn.Conv2d,
        fke: FourierKernelEstimator | None,
        fke_source: MapKind = MapKind.DECODED,
        fke_target: MapKind = MapKind.DECODED,
        coarse_heads: Iterable[nn.Conv2d] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.fusion = fusion
        self.decoder = decoder
        self.head = head
        self.fke = fke
        self.fke_source, self.fke_target = fke_source, fke_target
        self.coarse_heads: TypedModuleList[nn.Conv2d] = TypedModuleList(coarse_heads)

    @property
    def handed_on(self) -> MapKind:
        """The map that goes to the next column and to the finer scale."""
        return MapKind.DECODED if self.fke is None else MapKind.DEBLURRED

    @property
    def tails(self) -> list[nn.Conv2d]:
        """The last convolutions of all outputs."""
        tails = [self.head, *self.coarse_heads]
        if self.fke is not None and self.fke.tail is not None:
            tails.append(self.fke.tail)
        return tails

    def encode(self, state: ColumnState, scale: int) -> None:
        """Update the encoded maps from the image."""
        self.encoder.update(state, scale, self.handed_on)
        if self._fke_reads(MapKind.KEPT):
            # The decoder goes on with the map itself.
            state.replace(MapKey(scale, MapKind.KEPT), nn.Identity(), MapKey(scale, MapKind.ENCODED))

    def decode(self, state: ColumnState, scale: int) -> None:
        """Fuse the coarser scale into the latent, decode, and output images."""
        decoded, image = MapKey(scale, MapKind.DECODED), MapKey(scale, MapKind.IMAGE)
        if self.fusion is not None:
            latent = MapKey(scale, MapKind.ENCODED, len(self.encoder.levels) - 1)
            state.replace(latent, self.fusion, MapKey(scale + 1, self.handed_on), latent)
        self.decoder.update(state, scale)
        for level, head in reversed(list(enumerate(self.coarse_heads, start=1))):
            state.output(head, MapKey(scale, MapKind.ENCODED, level), MapKey(level, MapKind.IMAGE))
        if self._fke_reads(MapKind.RESTORED):
            restored = MapKey(scale, MapKind.RESTORED)
            state.replace(restored, AddImage(self.head), decoded, image)
            state.output(nn.Identity(), restored, None)
        else:
            state.output(self.head, decoded, image)
        if self.fke is not None:
            self.fke.update(state, scale, self.fke_source, self.fke_target)

    def _fke_reads(self, kind: MapKind) -> bool:
        return self.fke is not None and kind in (self.fke_source, self.fke_target)


class Column(nn.Module):
    """One decoupled multi-scale UNet. ``unets`` holds the scales, full resolution first."""

    def __init__(self, unets: Iterable[ScaleUNet]) -> None:
        super().__init__()
        self.unets: TypedModuleList[ScaleUNet] = TypedModuleList(unets)

    def update(self, state: ColumnState) -> None:
        """Encode from fine to coarse, then decode from coarse to fine."""
        scales = list(enumerate(self.unets))
        for scale, unet in scales:
            unet.encode(state, scale)
        for scale, unet in reversed(scales):
            unet.decode(state, scale)
