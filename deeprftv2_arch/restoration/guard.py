"""Whether a restored photograph still looks like its input, block by block.

Deblurring moves light by a few pixels: the mean colour of a block changes only as far as its surroundings differ, and
fine detail comes back only where there is contrast. Networks outside of what they were trained on break both: colour
mosaics on dark even areas, colour shifts, values that are not finite.

The limits lie above what a perfect restoration does: sharp photographs stood for the output, and for the input the same
blurred in linear light by straight motion of 15, 25 and 45 pixels. At most over all blocks of the 24 Kodak pictures,
`benchmarks/restoration.py guard` finds

* (change - 0.06) over contrast, where change is the root mean square over the cells of 8 pixels in a block of 32: 0.17,
  0.36, 0.58 for a colour; 0.05, 0.13, 0.45 for the difference between two colours;
* change of the mean of 3x3 blocks: 0.07, 0.08, 0.10;
* (detail - 0.06) over contrast, where detail is new: 0.16, 0.18, 0.26; the detail itself: 0.17;
* change of the mean of the photograph: 0.03, 0.04, 0.04.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK, CELL = 32, 8
"""Sides of a block, and of a cell in it, in pixels of the input."""

BAND = 32 * BLOCK
"""Rows that are looked at together, which bounds the memory that this takes."""

COLOUR, COLOUR_WIDE = 0.06, 0.2
COLOUR_BY_CONTRAST = (1.0, 1.0, 1.0, 0.5, 0.5)
DETAIL, DETAIL_BY_CONTRAST, DETAIL_MOST, DETAIL_OF_INPUT = 0.06, 0.4, 0.25, 1.5
SHIFT = 0.05
"""Limits, for values in [0, 1]; those by contrast for red, green, blue, and red and blue less green. The detail of the
input, times `DETAIL_OF_INPUT`, is always allowed. `SHIFT` is for the mean colour of the whole photograph."""


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
    shift, change, low, high, detail_before, detail = (torch.cat(maps, dim=2) for maps in zip(*bands, strict=True))
    contrast = _largest_around(high) + _largest_around(-low)
    allowed = COLOUR + torch.tensor(COLOUR_BY_CONTRAST)[:, None, None] * contrast
    wide = F.avg_pool2d(shift, 3, 1, 1, count_include_pad=False)
    # Written so that NaN, which no comparison holds for, is found.
    colour = ~((change <= allowed) & (wide.abs() <= COLOUR_WIDE)).all(1, keepdim=True)
    allowed = (DETAIL + DETAIL_BY_CONTRAST * contrast[:, :3].amax(1, keepdim=True)).clamp(max=DETAIL_MOST)
    noise = ~(detail <= torch.maximum(allowed, DETAIL_OF_INPUT * detail_before))
    if not output.isfinite().all():
        return Finding('values that are not finite', colour | noise)
    whole = shift[:, :3].mean((2, 3)).abs().max().item()
    if whole > SHIFT:
        return Finding(f'the colour of the whole photograph shifts by {100 * whole:.0f} %', torch.ones_like(colour))
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
    """Of each block: shift and change of its planes, the lowest and highest in the input, detail of input and output.

    Planes are red, green, blue, and red and blue less green. The output is what can be written of it; what is not
    finite stays so.
    """
    output = torch.where(output.isfinite(), output.clamp(0, 1), torch.nan)
    details = _detail(image), _detail(output)
    image, output = _planes(image), _planes(output)
    quarter = _mean(image, 4)
    high = F.max_pool2d(quarter, BLOCK // 4, ceil_mode=True)
    low = -F.max_pool2d(-quarter, BLOCK // 4, ceil_mode=True)
    difference = output - image
    change = _mean(_mean(difference, CELL).square(), BLOCK // CELL).sqrt()
    return _mean(difference, BLOCK), change, low, high, *details


def _planes(x: Tensor) -> Tensor:
    return torch.cat([x, x[:, 0::2] - x[:, 1:2]], dim=1)


def _detail(x: Tensor) -> Tensor:
    """Root mean square of what a mean over 3x3 pixels takes away."""
    fine = x - F.avg_pool2d(F.pad(x, (1, 1, 1, 1), 'replicate'), 3, 1)
    return _mean(fine.square().mean(1, keepdim=True), BLOCK).sqrt()


def _mean(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(x, size, ceil_mode=True, count_include_pad=False)


def _largest_around(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)
