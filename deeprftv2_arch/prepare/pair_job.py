"""One pair of images: read whole, checked, then copied, linked or converted, and cut into crops."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import decode_image, read_image_file
from deeprftv2_arch.prepare.crops import Crops, chosen_windows
from deeprftv2_arch.prepare.files import copy_or_link, is_current, is_current_copy, write_file
from deeprftv2_arch.prepare.image_io import encode_png, png_header
from deeprftv2_arch.prepare.plan import JobResult, OutputDirs, OutputFile, Pair
from deeprftv2_arch.prepare.similarity import thumbnail

_BITS = {np.dtype(np.uint8): 8, np.dtype(np.uint16): 16}


class PairItem(NamedTuple):
    """One pair and how it is to be prepared.

    Attributes:
        pair: The two files.
        part: Folder below ``--out``: train, val or test.
        bit_depth: Bits per channel of the files to be made.
        convert: Whether a deeper file is converted; else it is refused.
        link: None to copy, or ``symbolic`` or ``hard``.
        crops: How to cut crops, or None for none.
        size: Height and width that the set is known for, or None.
        thumbnails: Whether the result is to hold thumbnails.
    """

    pair: Pair
    part: str
    bit_depth: int = 8
    convert: bool = False
    link: str | None = None
    crops: Crops | None = None
    size: tuple[int, int] | None = None
    thumbnails: bool = False

    @property
    def sources(self) -> dict[str, Path]:
        """The two files, by the name of the folder that they go to."""
        return {'blur': self.pair.blur, 'sharp': self.pair.sharp}


def prepare_pair(item: PairItem, dirs: OutputDirs) -> JobResult:
    """Make all files of a pair that are missing or not as new as their source."""
    name = f'{item.part}/{item.pair.name}'
    try:
        current = _current_files(item, dirs)
        if current is not None:
            return JobResult(name, current)
        return _make(item, dirs, name)
    except DataError as error:
        return JobResult(name, error=str(error))


def _make(item: PairItem, dirs: OutputDirs, name: str) -> JobResult:
    images = {role: decode_image(read_image_file(path), str(path)) for role, path in item.sources.items()}
    _check(item, images)
    height, width = images['sharp'].shape[:2]
    grid = [] if item.crops is None else chosen_windows(images['sharp'], item.crops)
    files: list[OutputFile] = []
    written = 0
    for role, source in item.sources.items():
        converts = _BITS[images[role].dtype] != item.bit_depth
        image = _to_8_bit(images[role]) if converts else images[role]
        for output in _outputs(item, role, height, width, converts=converts, crops=len(grid)):
            files.append(output.file)
            if _is_current(item, dirs, output, converts):
                continue
            if output.crop is not None:
                write = encode_png(_cut(image, grid[output.crop], output.file))
            elif converts:
                write = encode_png(image)
            else:
                write = copy_or_link(source, item.link)
            write_file(dirs, output.file.file, source, write)
            written += 1
    thumbnails = (thumbnail(images['blur']), thumbnail(images['sharp'])) if item.thumbnails else None
    return JobResult(name, tuple(files), written, thumbnails=thumbnails)


def _cut(image: np.ndarray, corner: tuple[int, int], crop: OutputFile) -> np.ndarray:
    top, left = corner
    return image[top : top + crop.height, left : left + crop.width]


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


def _current_files(item: PairItem, dirs: OutputDirs) -> tuple[OutputFile, ...] | None:
    """List the files of the pair if all are there and as new as their sources, without reading whole images."""
    header = png_header(item.pair.sharp)
    if header is None or item.thumbnails:
        return None
    count = 0
    if item.crops is not None:
        if min(header.height, header.width) < item.crops.size:
            return None
        count = item.crops.count(header.height, header.width)
    converts = header.bits != item.bit_depth
    files: list[OutputFile] = []
    for role in item.sources:
        for output in _outputs(item, role, header.height, header.width, converts=converts, crops=count):
            if not _is_current(item, dirs, output, converts):
                return None
            files.append(output.file)
    return tuple(files)


class _Output(NamedTuple):
    """A file to be made of one image of a pair: the whole image, or its crop of that index."""

    file: OutputFile
    source: Path
    crop: int | None = None


def _outputs(item: PairItem, role: str, height: int, width: int, *, converts: bool, crops: int) -> Iterator[_Output]:
    """Yield the whole image first, then its crops."""
    source = item.sources[role]
    suffix = '.png' if converts else source.suffix
    whole = f'{item.part}/{role}/{item.pair.name}{suffix}'
    yield _Output(OutputFile(whole, height, width, item.bit_depth), source)
    if item.crops is None:
        return
    side = item.crops.size
    for index in range(crops):
        file = f'{item.part}/{role}_crops/{item.pair.name}_s{index + 1:03}.png'
        yield _Output(OutputFile(file, side, side, item.bit_depth), source, crop=index)


def _is_current(item: PairItem, dirs: OutputDirs, output: _Output, converts: bool) -> bool:
    target = dirs.out / output.file.file
    if converts or output.crop is not None:
        return is_current(target, output.source)
    return is_current_copy(target, output.source, item.link)


def _to_8_bit(image: np.ndarray) -> np.ndarray:
    """Keep the upper eight bits, as OpenCV does by default; the published metric values are measured on these."""
    return (image >> 8).astype(np.uint8)


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[1]} x {shape[0]}'
