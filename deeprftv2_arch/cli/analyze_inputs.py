"""What the figures are drawn from: images, pairs of folders, and networks with their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from deeprftv2_arch.checkpoints.load import load_weights
from deeprftv2_arch.config.yaml_file import read_option_file
from deeprftv2_arch.data.image_file import FULL_SCALE, IMAGE_SUFFIXES, decode_image, read_image_file
from deeprftv2_arch.utils.errors import UserError

OUT = 'results/analyze'
# Sides of a patch are multiples of this, so that no network with up to four halvings pads it.
PATCH_MULTIPLE = 16


def read_rgb(path: str | Path) -> Tensor:
    """Read an image as (3, H, W), RGB in [0, 1].

    Raises:
        UserError: It cannot be read.
    """
    image = decode_image(read_image_file(path), str(path))
    scaled = image.astype(np.float32) / FULL_SCALE[image.dtype]
    return torch.from_numpy(np.ascontiguousarray(scaled[..., ::-1].transpose(2, 0, 1)))


def images_of(path: str | Path) -> list[Path]:
    """Return an image, or the images in a folder in the order of their names.

    Raises:
        UserError: There are none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(file for file in path.rglob('*') if file.suffix.lower() in IMAGE_SUFFIXES)
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise UserError(f'{path}: there is no image.')
    return found


def read_pair(blurred: str | Path, sharp: str | Path) -> tuple[Tensor, Tensor]:
    """Read a blurred and a sharp image of one size.

    Raises:
        UserError: One cannot be read, or their sizes differ.
    """
    first, second = read_rgb(blurred), read_rgb(sharp)
    if first.shape != second.shape:
        sizes = [f'{image.shape[2]} x {image.shape[1]}' for image in (first, second)]
        raise UserError(f'{blurred} has {sizes[0]} pixels and {sharp} has {sizes[1]}: these are no pair.')
    return first, second


def middle(image: Tensor, size: int) -> Tensor:
    """Cut the middle out of an image: (3, H, W) -> (3, h, w), sides of at most ``size``, multiples of 16.

    Raises:
        UserError: The image is smaller than 16 pixels.
    """
    sides = [min(size, side) // PATCH_MULTIPLE * PATCH_MULTIPLE for side in image.shape[1:]]
    if min(sides) == 0:
        raise UserError(f'An image or patch of less than {PATCH_MULTIPLE} pixels is too small to be analyzed.')
    top, left = ((side - kept) // 2 for side, kept in zip(image.shape[1:], sides, strict=True))
    return image[:, top : top + sides[0], left : left + sides[1]]


def load_network(option_file: str, weights: str | None) -> tuple[nn.Module, dict[str, Any]]:
    """Build the network of an option file and load its weights; it works on whole patches.

    Args:
        option_file: Its ``network_g`` is built.
        weights: Checkpoint; None for ``path.pretrain_network_g``.

    Returns:
        The network in evaluation mode, and its arguments.

    Raises:
        UserError: The network cannot be built, no checkpoint is named, or it does not fit.
    """
    options = read_option_file(option_file).options
    arguments, paths = dict(options.get('network_g') or {}), options.get('path') or {}
    name = arguments.pop('type', None)
    if name not in ARCH_REGISTRY:
        raise UserError(f'{option_file}: network_g.type: expected the name of a registered network, got {name!r}.')
    weights = weights or paths.get('pretrain_network_g')
    if weights is None:
        raise UserError(f'{option_file}: path.pretrain_network_g names no checkpoint. Give one with --weights.')
    if 'tile' in arguments:
        arguments['tile'] = None
    try:
        network = ARCH_REGISTRY.get(name)(**arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f'{option_file}: network_g: {error}.') from error
    load_weights(network, weights, paths.get('param_key_g', 'params'))
    return network.eval(), arguments


def patch_size(wanted: int, arguments: Sequence[dict[str, Any]]) -> int:
    """Return the side of the patches: at most the windows of the estimators, so that each has one kernel."""
    windows = [options['fke_window'] for options in arguments if options.get('fke_window')]
    return min([wanted, *windows])


def positive(text: str) -> int:
    """Read a number of at least 1 off the command line."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value
