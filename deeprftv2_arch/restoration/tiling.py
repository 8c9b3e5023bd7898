"""Running any network over an image of any size: in tiles that fit in memory, blended where they overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from deeprftv2_arch.nn.memory import largest_that_fits
from deeprftv2_arch.nn.windows import Windows

LARGEST_TILE = 512
"""Side of an automatic tile in pixels. Larger ones save little time, and progress is told tile by tile."""

SMALLEST_TILE = 64

MULTIPLE = 32
"""Sides of tiles are multiples of this, which the windows and the halvings of nearly all networks divide."""

OVERLAP = 8
"""Neighbouring tiles share one part in this many of their side."""

Progress = Callable[[int, int], None]
"""Is told the number of tiles that are done, and of all."""


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        tile: Side of a tile in pixels of the input; None for the whole image; `auto` for what fits in memory, at most
            `LARGEST_TILE`.
        cost: Bytes per pixel of a tile that the network needs at the peak.
    """

    tile: int | Literal['auto'] | None
    cost: float

    def run(
        self, network: Callable[[Tensor], Tensor], image: Tensor, scale: int, device: torch.device, progress: Progress
    ) -> Tensor:
        """Run a network over an image, tile after tile; only the output grows with the image.

        Args:
            network: (1, K, h, w) -> (1, K, scale * h, scale * w), on the device, for any h and w.
            image: (1, K, H, W), on the CPU.
            scale: By what the network enlarges.
            device: Where the network is.
            progress: Is told about every tile.

        Returns:
            (1, K, scale * H, scale * W), on the CPU.

        Raises:
            torch.OutOfMemoryError, MemoryError, RuntimeError: Not even the smallest tile fits.
        """
        height, width = image.shape[-2:]

        def run(size: int) -> Tensor:
            windows = Windows(size, size // OVERLAP)
            slices = windows.slices(height, width)

            def outputs() -> Iterator[Tensor]:
                for done, (rows, columns) in enumerate(slices):
                    progress(done, len(slices))
                    yield network(image[..., rows, columns].to(device)).float().cpu()
                progress(len(slices), len(slices))

            enlarged = Windows(size * scale, size // OVERLAP * scale)
            return enlarged.merge(outputs(), height * scale, width * scale)

        longest = max(height, width)
        if self.tile != 'auto':
            return run(self.tile or longest)
        largest = min(LARGEST_TILE, -(-longest // MULTIPLE) * MULTIPLE)
        return largest_that_fits(run, largest, SMALLEST_TILE, MULTIPLE, self.cost, device)
