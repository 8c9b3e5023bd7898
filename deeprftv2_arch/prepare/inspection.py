"""One prepared pair, decoded to the last pixel: what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import decode_image
from deeprftv2_arch.data.lmdb_store import read_lmdb
from deeprftv2_arch.prepare.similarity import fingerprint


class Entry(NamedTuple):
    """An image in a folder (``key`` empty) or in an LMDB.

    Attributes:
        path: The file, or the folder of the LMDB.
        key: Key in the LMDB.
    """

    path: str
    key: str = ''

    def __str__(self) -> str:
        return f'{self.path}, key {self.key!r}' if self.key else self.path

    def read(self) -> bytes:
        """The bytes of the image file.

        Raises:
            DataError: If they cannot be read.
        """
        if self.key:
            return read_lmdb(self.path, self.key)
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise DataError(f'{self.path}: cannot read the image: {error.strerror or error}.') from error


class PairToInspect(NamedTuple):
    """Two images that belong together, and what they should be like; see ``PairedFolders``."""

    degraded: Entry
    good: Entry
    scale: int
    size: tuple[int, int] | None
    whole: bool


class Inspected(NamedTuple):
    """What was found in a pair.

    Attributes:
        findings: Sentences that name the file.
        bits: Bits per channel by image; without those that could not be decoded.
        likeness: Fingerprints of both, if both were decoded and are whole images.
    """

    findings: tuple[str, ...]
    bits: dict[str, int]
    likeness: tuple[np.ndarray, np.ndarray] | None


class Copies(NamedTuple):
    """An image of a folder and its copy in an LMDB."""

    file: Entry
    stored: Entry


def inspect_pair(pair: PairToInspect) -> Inspected:
    """Decode both images of a pair and compare them with what they should be."""
    findings, images = [], {}
    for entry in (pair.degraded, pair.good):
        try:
            images[entry] = decode_image(entry.read(), str(entry))
        except DataError as error:
            findings.append(str(error))
    bits = {str(entry): 8 * image.dtype.itemsize for entry, image in images.items()}
    if len(images) < 2:
        return Inspected(tuple(findings), bits, None)
    degraded, good = images[pair.degraded], images[pair.good]
    (low_height, low_width), (height, width) = degraded.shape[:2], good.shape[:2]
    if (low_height * pair.scale, low_width * pair.scale) != (height, width):
        times = f' times {pair.scale}' if pair.scale > 1 else ''
        findings.append(
            f'{pair.degraded}: {low_width} x {low_height} pixels{times} do not fit {pair.good} of {width} x {height}.'
        )
    if pair.size and (height, width) != pair.size:
        findings.append(f'{pair.good}: {width} x {height} pixels, expected {pair.size[1]} x {pair.size[0]}.')
    if pair.scale == 1 and np.array_equal(degraded, good):
        findings.append(f'{pair.degraded}: the same image as {pair.good}.')
    likeness = (fingerprint(degraded), fingerprint(good)) if pair.whole else None
    return Inspected(tuple(findings), bits, likeness)


def compare_copies(copies: Copies) -> str:
    """Compare an image of a folder with the one in an LMDB, by their pixels; empty if they agree."""
    try:
        data, stored = copies.file.read(), copies.stored.read()
        if data == stored:
            return ''
        image, other = decode_image(data, str(copies.file)), decode_image(stored, str(copies.stored))
    except DataError as error:
        return str(error)
    if np.array_equal(image, other) and image.dtype == other.dtype:
        return ''
    return f'{copies.stored}: differs from {copies.file}. Make the LMDB again.'
