"""How a trained network looks at an image: padded, in tiles, or from all sides."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor


def mirror_pad(x: Tensor, multiple: int) -> Tensor:
    """Continue (N, C, H, W) maps at the bottom and the right to the next multiple, mirrored with the edge pixel."""
    height, width = x.shape[-2:]
    return mirror_extend(x, height + -height % multiple, width + -width % multiple)


def mirror_extend(x: Tensor, height: int, width: int) -> Tensor:
    """Continue (N, C, H, W) maps at the bottom and the right to (N, C, height, width), mirrored with the edge pixel.

    Unlike torch's ``reflect`` it repeats the edge pixel, and continues maps of any size, one pixel included.
    """
    for axis, length in ((-2, height), (-1, width)):
        present = x.shape[axis]
        if length > present:
            index = torch.arange(length, device=x.device) % (2 * present)
            x = x.index_select(axis, torch.minimum(index, 2 * present - 1 - index))
    return x


def self_ensemble(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Mean over the eight flips and quarter turns of the image, each turned back ("x8", "+" in tables; EDSR).

    Args:
        run: Takes (N, C, H, W) and also (N, C, W, H) maps, and returns maps of proportional size.
        x: (N, C, H, W).
    """

    def restore(transposed: bool, flips: tuple[int, ...]) -> Tensor:
        turned = x.transpose(-2, -1) if transposed else x
        result = run(turned.flip(flips)).flip(flips)
        return result.transpose(-2, -1) if transposed else result

    flips: tuple[tuple[int, ...], ...] = (), (-2,), (-1,), (-2, -1)
    first, *others = itertools.product((False, True), flips)
    total = restore(*first).contiguous()
    for view in others:
        total.add_(restore(*view))
    return total / 8
