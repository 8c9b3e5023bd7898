"""One pair of images: read whole, checked, then copied, linked or converted, and cut into crops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import decode_image
from deeprftv2_arch.prepare.crops import Crops, chosen_windows
from deeprftv2_arch.prepare.files import copy_or_link, is_current, is_current_copy, write_file
from deeprftv2_arch.prepare.image_io import encode_png, png_header, read_bytes
from deeprftv2_arch.prepare.plan import Made, Outcome, Pair, Place
from deeprftv2_arch.prepare.similarity import fingerprint

_BITS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}


class PairItem(NamedTuple):
    """One pair and what is to become of it.

    Attributes:
        pair: The two files.
        part: Folder below ``--out``: train, val or test.
        bit_depth: Bits per channel of the files to be made.
        convert: Whether a deeper file is converted; else it is refused.
        link: None to copy, or ``symbolic`` or ``hard``.
        crops: How to cut crops, or None for none.
        size: Height and width that the set is known for, or None.
        likeness: Whether fingerprints are asked for.
    """

    pair: Pair
    part: str
    bit_depth: int = 8
    convert: bool = False
    link: str | None = None
    crops: Crops | None = None
    size: tuple[int, int] | None = None
    likeness: bool = False

    @property
    def sources(self) -> dict[str, Path]:
        """The two files by the name of the folder that they go to."""
        return {'blur': self.pair.blur, 'sharp': self.pair.sharp}


def prepare_pair(item: PairItem, place: Place) -> Outcome:
    """Make all files of a pair that are missing or not as new as their source."""
    name = f'{item.part}/{item.pair.name}'
    try:
        made = _all_current(item, place)
        return Outcome(name, made) if made else _make(item, place, name)
    except DataError as error:
        return Outcome(name, error=str(error))


def _make(item: PairItem, place: Place, name: str) -> Outcome:
    images = {role: decode_image(read_bytes(path), str(path)) for role, path in item.sources.items()}
    _check(item, images)
    height, width = images['sharp'].shape[:2]
    grid = chosen_windows(images['sharp'], item.crops) if item.crops else []
    made, written = [], 0
    for role, source in item.sources.items():
        converts = _BITS[images[role].dtype] != item.bit_depth
        image = _to_8_bit(images[role]) if converts else images[role]
        file = _whole_file(item, role, converts)
        if not _is_current(item, place, file, source, converts):
            write_file(place, file, source, encode_png(image) if converts else copy_or_link(source, item.link))
            written += 1
        made.append(Made(file, height, width, item.bit_depth))
        for file, (top, left) in zip(_crop_files(item, role, len(grid)), grid, strict=True):
            if not is_current(place.out / file, source):
                crop = image[top : top + item.crops.size, left : left + item.crops.size]
                write_file(place, file, source, encode_png(crop))
                written += 1
            made.append(Made(file, item.crops.size, item.crops.size, item.bit_depth))
    likeness = (fingerprint(images['blur']), fingerprint(images['sharp'])) if item.likeness else None
    return Outcome(name, tuple(made), written, likeness=likeness)


def _check(item: PairItem, images: dict[str, np.ndarray]) -> None:
    blur, sharp = item.pair.blur, item.pair.sharp
    shapes = {role: image.shape[:2] for role, image in images.items()}
    if shapes['blur'] != shapes['sharp']:
        raise DataError(
            f'The images of a pair differ in size: {blur} has {_size(shapes["blur"])} pixels, {sharp} has '
            f'{_size(shapes["sharp"])}. Copy them again from the download.'
        )
    if item.size and shapes['sharp'] != item.size:
        raise DataError(
            f'{sharp}: {_size(shapes["sharp"])} pixels, where all images of this set have {_size(item.size)}. '
            'Take the original images, neither crops nor reduced ones.'
        )
    if item.crops and min(shapes['sharp']) < item.crops.size:
        raise DataError(f'{sharp}: {_size(shapes["sharp"])} pixels are smaller than a crop of {item.crops.size}.')
    for role, path in item.sources.items():
        bits = _BITS.get(images[role].dtype)
        if bits is None or bits < item.bit_depth or (bits > item.bit_depth and not item.convert):
            kind = f'{bits} bits per channel' if bits else f'pixels of type {images[role].dtype}'
            raise DataError(f'{path}: has {kind}, expected {item.bit_depth} bits. Take the original images.')


def _all_current(item: PairItem, place: Place) -> tuple[Made, ...] | None:
    """The files of the pair, if all are there and as new as their sources; found out without reading whole images."""
    header = png_header(item.pair.sharp)
    if header is None or item.likeness:
        return None
    height, width, bits, _ = header
    if item.crops and min(height, width) < item.crops.size:
        return None
    converts = bits != item.bit_depth
    made = []
    for role, source in item.sources.items():
        file = _whole_file(item, role, converts)
        if not _is_current(item, place, file, source, converts):
            return None
        made.append(Made(file, height, width, item.bit_depth))
        if item.crops:
            side, count = item.crops.size, item.crops.count(height, width)
            crops = [Made(crop, side, side, item.bit_depth) for crop in _crop_files(item, role, count)]
            if not all(is_current(place.out / crop.file, source) for crop in crops):
                return None
            made += crops
    return tuple(made)


def _is_current(item: PairItem, place: Place, file: str, source: Path, converts: bool) -> bool:
    if converts:
        return is_current(place.out / file, source)
    return is_current_copy(place.out / file, source, item.link)


def _whole_file(item: PairItem, role: str, converts: bool) -> str:
    suffix = '.png' if converts else item.sources[role].suffix
    return f'{item.part}/{role}/{item.pair.name}{suffix}'


def _crop_files(item: PairItem, role: str, count: int) -> Iterator[str]:
    return (f'{item.part}/{role}_crops/{item.pair.name}_s{number:03}.png' for number in range(1, count + 1))


def _to_8_bit(image: np.ndarray) -> np.ndarray:
    """The upper eight bits, which is what OpenCV reads of a 16-bit file by default and the published figures are of."""
    return (image >> 8).astype(np.uint8)


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[1]} x {shape[0]}'
