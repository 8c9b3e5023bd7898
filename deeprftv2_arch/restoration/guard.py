"""Whether a restored photograph still looks like its input, block by block.

Deblurring moves light by a few pixels: the mean colour of a block changes only as far as its surroundings differ, and
fine detail comes back only where there is contrast. Networks outside of what they were trained on break both: colour
mosaics on dark even areas, colour shifts, values that are not finite.

The limits lie above what a perfect restoration does. On the 24 Kodak photographs, blurred in linear light by straight
motion of 15, 25, 45 and 65 pixels, the sharp photograph against the blurred one reaches, at most over all blocks:

* change of colour over (contrast + 0.1): 0.15, 0.23, 0.64, 1.09 in blocks of 32 pixels;
* change of colour in blocks of 64 pixels: 0.07, 0.08, 0.12, 0.18;
* (detail - 0.05) over (contrast + 0.02): 0.25, 0.29, 0.35, 0.45; the detail itself: 0.17.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 32
"""Side of a block in pixels of the input."""

BAND = 32 * BLOCK
"""Rows that are looked at together, which bounds the memory that this takes."""

COLOUR, COLOUR_BY_CONTRAST, COLOUR_WIDE = 0.06, 0.5, 0.2
DETAIL, DETAIL_BY_CONTRAST, DETAIL_MOST, DETAIL_OF_INPUT = 0.06, 0.4, 0.25, 1.5
SHIFT = 0.05
"""Limits, for values in [0, 1]. `DETAIL_OF_INPUT` times the detail of the input is always allowed; `SHIFT` is for the
mean colour of the whole photograph."""


@dataclass(frozen=True)
class Finding:
    """Where an output does not look like its input.

    Attributes:
        reason: What is wrong, in words; empty if nothing is.
        blocks: (1, 1, h, w) bool, the blocks that are wrong; all of them for a shift of the whole photograph.
    """

    reason: str
    blocks: Tensor

    def __bool__(self) -> bool:
        return bool(self.reason)


def compare(image: Tensor, output: Tensor) -> Finding:
    """Compare an output with its input.

    Args:
        image: (1, 3, H, W) in [0, 1], what the network was given.
        output: (1, 3, H, W), what it returned; reduced to the size of the input, if it was enlarged. May hold NaN.
    """
    bands = [_statistics(image[..., top : top + BAND, :], output[..., top : top + BAND, :]) for top in _tops(image)]
    before, after, low, high, detail_before, detail = (torch.cat(maps, dim=2) for maps in zip(*bands, strict=True))
    contrast = _largest_around(high) + _largest_around(-low)
    contrast = contrast.amax(1, keepdim=True)
    change = (after - before).abs().amax(1, keepdim=True)
    wide = F.avg_pool2d(after - before, 3, 1, 1, count_include_pad=False).abs().amax(1, keepdim=True)
    # Written so that NaN, which no comparison holds for, is found.
    colour = ~((change <= COLOUR + COLOUR_BY_CONTRAST * contrast) & (wide <= COLOUR_WIDE))
    allowed = (DETAIL + DETAIL_BY_CONTRAST * contrast).clamp(max=DETAIL_MOST)
    noise = ~(detail <= torch.maximum(allowed, DETAIL_OF_INPUT * detail_before))
    if not output.isfinite().all():
        return Finding('values that are not finite', colour | noise)
    shift = (after - before).mean((2, 3)).abs().max().item()
    if shift > SHIFT:
        return Finding(f'the colour of the whole photograph shifts by {100 * shift:.0f} %', torch.ones_like(colour))
    if not (colour | noise).any():
        return Finding('', colour)
    share = 100 * (colour | noise).float().mean().item()
    kind = 'colours that are not in the input' if colour.any() else 'patterns that are not in the input'
    return Finding(f'{kind}, in {max(share, 0.1):.1f} % of the photograph', colour | noise)


def mask(finding: Finding, height: int, width: int) -> Tensor:
    """(1, 1, height, width) in [0, 1]: 1 in the blocks that are wrong, falling to 0 over the blocks around them."""
    grown = F.max_pool2d(finding.blocks.float(), 3, 1, 1)
    return F.interpolate(grown, (height, width), mode='bilinear', align_corners=False)


def _tops(image: Tensor) -> range:
    return range(0, image.shape[-2], BAND)


def _statistics(image: Tensor, output: Tensor) -> tuple[Tensor, ...]:
    """Of each block: mean colour of input and output, the darkest and brightest in the input, detail of both."""
    quarter = _mean(image, 4)
    high = F.max_pool2d(quarter, BLOCK // 4, ceil_mode=True)
    low = -F.max_pool2d(-quarter, BLOCK // 4, ceil_mode=True)
    return _mean(image, BLOCK), _mean(output, BLOCK), low, high, _detail(image), _detail(output)


def _detail(x: Tensor) -> Tensor:
    """Root mean square of what a mean over 3x3 pixels takes away."""
    fine = x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), 'replicate'), 3, 1)
    return _mean(fine.square().mean(1, keepdim=True), BLOCK).sqrt()


def _mean(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)


def _largest_around(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)
