"""The network that restores: found in a file of weights, built, loaded and tried once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.archs.pretrained_arch import INSTALL, Pretrained
from deeprftv2_arch.checkpoints.io import mismatch
from deeprftv2_arch.checkpoints.network_file import NetworkFile
from deeprftv2_arch.checkpoints.recognition import read_network
from deeprftv2_arch.nn.tta import mirror_pad
from deeprftv2_arch.utils.errors import UserError

SHIPPED = Path(__file__).parents[1] / 'weights' / 'photos.safetensors'
"""The weights that come with this package."""

UNKNOWN_COST = 24 * 1024
"""Bytes per pixel that are assumed of a network that does not tell: 96 maps of 64 channels."""

PROBE = 64
"""Side of the image that a network is tried with, in pixels."""


@dataclass(frozen=True)
class RestorationNetwork:
    """A network in evaluation mode and what restoring has to know about it.

    Attributes:
        net: The network.
        name: What to call it.
        scale: By what the sides of an image grow.
        channels: Channels of its images, 1 or 3.
        multiple: Sides of images must be multiples of this.
        whole: Whether the network wants to see the whole image.
        cost: Bytes per pixel at the peak.
    """

    net: nn.Module
    name: str
    scale: int
    channels: int
    multiple: int = 1
    whole: bool = False
    cost: float = UNKNOWN_COST

    def __call__(self, x: Tensor) -> Tensor:
        """Restore (N, 3, H, W) in [0, 1]; networks for one channel see each colour as an image."""
        batch, height, width = x.shape[0], *x.shape[-2:]
        if self.channels == 1:
            x = x.flatten(0, 1)[:, None]
        output = self.net(mirror_pad(x, self.multiple))[..., : height * self.scale, : width * self.scale]
        return output.unflatten(0, (batch, 3)).squeeze(2) if self.channels == 1 else output


def load_network(path: str | Path | None = None) -> RestorationNetwork:
    """Build the network of a file of weights, on the CPU.

    Args:
        path: Weights of ours or of others; None for those that come with this package.

    Raises:
        UserError: The file is missing, damaged or of no known network, or its weights do not fit its options.
    """
    if path is None:
        path = SHIPPED
        if not path.is_file():
            raise UserError('This copy of deeprftv2_arch has no weights inside. Name a file: --weights FILE.')
    path = Path(path)
    found = read_network(path)
    return _try(_foreign(path) if found is None else _build(found, path), path)


def _build(found: NetworkFile, path: Path) -> RestorationNetwork:
    options = dict(found.options)
    if options.get('tile') == 'auto':
        options['tile'] = None  # tiles are cut here, where progress is told
    try:
        net = ARCH_REGISTRY.get(found.type)(**options)
    except KeyError as error:
        raise UserError(f'{path} belongs to a network {found.type!r}, which is not registered here.') from error
    except (TypeError, ValueError) as error:
        raise UserError(f'{path} cannot be used: {found.type}: {error}.') from error
    if problem := mismatch(net.state_dict(), found.weights):
        raise UserError(f'{path} does not fit the {found.type} of its options: {problem}.')
    net.load_state_dict(found.weights)
    channels = options.get('in_channels', options.get('num_in_ch', getattr(net, 'in_channels', 3)))
    multiple = options.get('window_size', 1)  # of window transformers, which do not see to it themselves
    cost = getattr(net, 'cost', UNKNOWN_COST)
    return RestorationNetwork(net, found.type, 0, int(channels), int(multiple), cost=cost)


def _foreign(path: Path) -> RestorationNetwork:
    try:
        net = Pretrained(str(path))
    except UserError as error:
        if INSTALL not in str(error):
            raise
        raise UserError(
            f'{path} has no options inside or beside it, and its keys are not those of DeepRFTv2, ATD or ATD + FKE. '
            f'Networks of others are read with an extra: {INSTALL}'
        ) from error
    return RestorationNetwork(net, net.architecture, net.upscale, net.in_channels, whole=net.tiling == 'INTERNAL')


def _try(network: RestorationNetwork, path: Path) -> RestorationNetwork:
    """Run the network once: it must return an image, whose size tells by what it enlarges."""
    if network.channels not in (1, 3):
        raise UserError(f'{path}: {network.name} takes images of {network.channels} channels, not 1 or 3.')
    network.net.eval().requires_grad_(False)
    side = -(-PROBE // network.multiple) * network.multiple
    output: Any = network.net(torch.full((1, network.channels, side, side), 0.5))
    if not isinstance(output, Tensor) or output.dim() != 4 or output.shape[1] != network.channels:
        raise UserError(f'{path}: {network.name} returns something else than an image.')
    scale, rest = divmod(output.shape[-1], side)
    if rest or not scale or output.shape[-2] != output.shape[-1]:
        raise UserError(f'{path}: {network.name} makes an image of {side} pixels one of {tuple(output.shape[-2:])}.')
    return replace(network, scale=scale)
