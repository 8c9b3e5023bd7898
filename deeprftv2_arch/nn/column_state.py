"""The maps that the columns of a network update, each under a typed key (paper sections 3.3.1, 3.3.2).

A column of the network never returns features. It updates maps that live in a :class:`ColumnState`, with three verbs:

* ``coupled_update``: ``map <- scaling * map + function(other maps)``, equations 12, 14 and 16. It can be undone without
  having kept the old map: equations 13, 15 and 17.
* ``replace``: ``map <- function(maps)``. The old map has to be kept to undo it, unless an earlier ``replace`` made it
  and can make it again in backward, as with the feature that one column hands to the next.
* ``output``: append an output of the network; no map changes.

:class:`ColumnState` computes under ordinary autograd; ``nn/reversible.py`` runs the same updates with less memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from deeprftv2_arch.nn.precision import at_least_float32

# Published: every scaling keeps at least this magnitude and its sign.
SCALING_FLOOR = 1e-3


class MapKind(Enum):
    """What a map holds. The letters are those of the paper and of ``docs/network.md``."""

    IMAGE = 'image'  # the blurred image, which is only read
    ENCODED = 's'  # one per level: the encoder's features, then the decoder's, which start from them
    DECODED = 'd'  # the decoder's last features
    RESIDUAL = 'r'  # one per level of a kernel estimator, on the half spectrum
    DEBLURRED = 'f'  # the feature convolved with the estimated kernel
    KEPT = 'e'  # the first encoded map as the encoder left it, for estimators that read it
    RESTORED = 'o'  # the first restored image, for estimators that read it


class MapKey(NamedTuple):
    """Where a map is found.

    Attributes:
        scale: Scale of the image pyramid, 0 for full resolution.
        kind: What the map holds.
        level: Level of an encoder or of an estimator, 0 for the first: ``s1`` of the paper is level 0.
    """

    scale: int
    kind: MapKind
    level: int = 0


class ScaleOutput(NamedTuple):
    """An output of the network: the restored image (N, K, h, w) of a scale."""

    scale: int
    image: Tensor


class Scaling(nn.Module):
    """The learned scaling ``alpha`` of a map's old value, one per channel, kept away from zero.

    In training the parameter itself is moved to the floor before it is used, as published; in evaluation mode only the
    value in use is, so that evaluating a network never changes its weights. An exact zero stays zero.

    Args:
        channels: Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, channels, 1, 1), 0.5))

    def forward(self) -> Tensor:
        """Return the scaling in use, (1, C, 1, 1); the gradient passes through the floor unchanged."""
        with torch.no_grad():
            floored = self.weight.sign() * self.weight.abs().clamp(min=SCALING_FLOOR)
            if self.training:
                # Written through .data: the floor is idempotent, so graphs of an earlier forward stay valid.
                self.weight.data.copy_(floored)
            shift = floored - self.weight
        return self.weight + shift


def couple(update: Tensor, scaling: Scaling, old: Tensor | None) -> Tensor:
    """Return ``scaling() * old + update``, (N, C, H, W); None as the old map counts as zero."""
    # Maps that are undone carry their rounding errors on, so they are kept in float32 under autocast too.
    update = at_least_float32(update)
    if old is None:
        # Ties the scaling to the result, so that its gradient is zero and not missing.
        old = update.new_zeros(1, 1, 1, 1)
    return torch.addcmul(update, scaling().to(update.dtype), old.to(update.dtype))


class _PendingOutput:
    """An output that can be computed later, of the maps as they stand now."""

    def __init__(self, maps: Mapping[MapKey, Tensor], function: nn.Module, key: MapKey, image: MapKey | None) -> None:
        self.scale = key.scale if image is None else image.scale
        self.function, self.feature = function, maps[key]
        self.image = None if image is None else maps[image]

    def compute(self) -> ScaleOutput:
        restored = self.function(self.feature)
        return ScaleOutput(self.scale, restored if self.image is None else restored + self.image)


class ColumnState:
    """The maps of all scales, (N, C, H, W) each, updated by one column after the other under ordinary autograd.

    Args:
        maps: Maps that exist at the start. All others are absent, which counts as zero.

    Attributes:
        outputs: Outputs so far, in order.
    """

    def __init__(self, maps: Mapping[MapKey, Tensor]) -> None:
        self.maps = dict(maps)
        self.outputs: list[ScaleOutput] = []

    def coupled_update(self, key: MapKey, scaling: Scaling, function: nn.Module, *inputs: MapKey | None) -> None:
        """``maps[key] <- scaling() * maps[key] + function(*inputs)``; the function gets None for an input of None."""
        self.maps[key] = couple(self._call(function, inputs), scaling, self.maps.get(key))

    def replace(self, key: MapKey, function: nn.Module, *inputs: MapKey) -> None:
        """``maps[key] <- function(*inputs)``."""
        self.maps[key] = self._call(function, inputs)

    def output(self, function: nn.Module, key: MapKey, image: MapKey | None) -> None:
        """Append the output ``function(maps[key]) + maps[image]``, of the image's scale; None for no image to add."""
        self.outputs.append(_PendingOutput(self.maps, function, key, image).compute())

    def _call(self, function: nn.Module, inputs: tuple[MapKey | None, ...]) -> Tensor:
        return function(*(None if key is None else self.maps[key] for key in inputs))


class LastOutputState(ColumnState):
    """A state that computes only the last output; for evaluation, where the others are not asked for."""

    def output(self, function: nn.Module, key: MapKey, image: MapKey | None) -> None:
        """Remember what the output would be computed from."""
        self._last = _PendingOutput(self.maps, function, key, image)

    def last_output(self) -> ScaleOutput:
        """Compute the last output of the columns that were run."""
        return self._last.compute()
