"""Pairs of a blurred and a sharp crop, the same every time they are asked for."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.data.image_file import IMAGE_SUFFIXES
from deeprftv2_arch.data.photograph_folder import read_photograph
from deeprftv2_arch.data.synthesis.camera import to_uint8
from deeprftv2_arch.data.synthesis.pairs import draw_pair, smallest_photograph
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.natural_sort import natural_sort_key

LONG_SIDE = 1152
"""Larger photographs are reduced to this, as `prepare photos` does."""


@dataclass(frozen=True)
class Pair:
    """An image with and without blur, uint8 (H, W, 3) RGB each."""

    name: str
    blurred: np.ndarray
    sharp: np.ndarray


def load_pairs(folder: Path, crop: int, crops: int) -> list[Pair]:
    """Read fixed pairs, or make pairs of sharp photographs.

    Args:
        folder: What `prepare photos` wrote to `val`, with `blur/` and `sharp/` of equal names; or any folder of sharp
            photographs, which `synthesize` blurs.
        crop: Side of the crops that are made, in pixels.
        crops: How many are made of each photograph.

    Raises:
        UserError: There are no photographs, one cannot be read or is too small, or a partner is missing.
    """
    if (folder / 'blur').is_dir() and (folder / 'sharp').is_dir():
        return [
            Pair(name, read_photograph(blurred, LONG_SIDE), read_photograph(sharp, LONG_SIDE))
            for name, blurred, sharp in partners(folder)
        ]
    pairs = []
    for path in images_in(folder):
        photograph = read_photograph(path, LONG_SIDE)
        for number in range(crops):
            name = path.stem if crops == 1 else f'{path.stem}-{number + 1}'
            pairs.append(synthesize(name, photograph, crop, path))
    return pairs


def synthesize(name: str, photograph: np.ndarray, crop: int, path: Path) -> Pair:
    """Cut a crop out of a photograph and blur it as `SynthesizedBlurDataset` does, with its default ranges.

    Crop, blur and noise are a function of the name alone.

    Args:
        name: Name of the pair.
        photograph: uint8 (H, W, 3) RGB.
        crop: Side in pixels.
        path: The file, for messages.

    Raises:
        UserError: The photograph is too small.
    """
    settings = BlurSettings()
    height, width = smallest_photograph((crop, crop), settings)
    if photograph.shape[0] < height or photograph.shape[1] < width:
        raise UserError(
            f'{path}: crops of {crop} pixels need a photograph of {width} x {height}, this one has '
            f'{photograph.shape[1]} x {photograph.shape[0]}. Lower --crop, or remove it.'
        )
    pair = draw_pair(photograph, (crop, crop), settings, np.random.default_rng(zlib.crc32(name.encode())))
    return Pair(name, pair.blurred, to_uint8(pair.sharp))


def partners(folder: Path) -> list[tuple[str, Path, Path]]:
    """The images of `blur/` and `sharp/` below a folder, by equal names without suffix: (name, blurred, sharp).

    Raises:
        UserError: One has no partner.
    """
    blurred, sharp = ({path.stem: path for path in images_in(folder / side)} for side in ('blur', 'sharp'))
    for name in blurred.keys() ^ sharp.keys():
        path = blurred.get(name) or sharp[name]
        raise UserError(f'{path} has no partner of that name in the other folder. Add it, or remove this one.')
    return [(name, path, sharp[name]) for name, path in blurred.items()]


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, in natural order.

    Raises:
        UserError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UserError(f'There is no folder {folder}.')
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != '.']
    if not found:
        raise UserError(f'{folder} has no images: no file that ends in {", ".join(sorted(IMAGE_SUFFIXES))}.')
    return sorted(found, key=lambda path: natural_sort_key(path.name))
