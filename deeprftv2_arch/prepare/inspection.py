"""One prepared pair, decoded to the last pixel: what is wrong with it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import decode_image, read_image_file
from deeprftv2_arch.data.lmdb_store import read_lmdb
from deeprftv2_arch.prepare.similarity import thumbnail


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
        """Read the bytes of the image file.

        Raises:
            DataError: If they cannot be read.
        """
        if self.key:
            return read_lmdb(self.path, self.key)
        return read_image_file(self.path)


class PairToInspect(NamedTuple):
    """Two images that belong together, and what they should be like; see ``PairedFolders``."""

    lq: Entry
    gt: Entry
    scale: int
    size: tuple[int, int] | None
    whole: bool


class Inspected(NamedTuple):
    """Result of an inspection.

    Attributes:
        findings: Sentences that name the file.
        bits: Bits per channel by image; without those that could not be decoded.
        thumbnails: Of lq and gt, if both were decoded and are whole images.
    """

    findings: tuple[str, ...]
    bits: dict[str, int]
    thumbnails: tuple[np.ndarray, np.ndarray] | None


class Copies(NamedTuple):
    """An image of a folder and its copy in an LMDB."""

    file: Entry
    stored: Entry


def inspect_pair(pair: PairToInspect) -> Inspected:
    """Decode both images of a pair and compare them with what they should be."""
    findings: list[str] = []
    images: dict[Entry, np.ndarray] = {}
    for entry in (pair.lq, pair.gt):
        try:
            images[entry] = decode_image(entry.read(), str(entry))
        except DataError as error:
            findings.append(str(error))
    bits = {str(entry): 8 * image.dtype.itemsize for entry, image in images.items()}
    if len(images) < 2:
        return Inspected(tuple(findings), bits, None)
    lq, gt = images[pair.lq], images[pair.gt]
    findings += _check_sizes(pair, lq, gt)
    if pair.scale == 1 and np.array_equal(lq, gt):
        findings.append(f'{pair.lq}: the same image as {pair.gt}.')
    thumbnails = (thumbnail(lq), thumbnail(gt)) if pair.whole else None
    return Inspected(tuple(findings), bits, thumbnails)


def _check_sizes(pair: PairToInspect, lq: np.ndarray, gt: np.ndarray) -> list[str]:
    findings = []
    low_height, low_width = lq.shape[:2]
    height, width = gt.shape[:2]
    if (low_height * pair.scale, low_width * pair.scale) != (height, width):
        times = f' times {pair.scale}' if pair.scale > 1 else ''
        findings.append(
            f'{pair.lq}: {low_width} x {low_height} pixels{times} do not fit {pair.gt} of {width} x {height}.'
        )
    if pair.size and (height, width) != pair.size:
        findings.append(f'{pair.gt}: {width} x {height} pixels, expected {pair.size[1]} x {pair.size[0]}.')
    return findings


def compare_copies(copies: Copies) -> str:
    """Compare an image of a folder with the one in an LMDB, by their pixels.

    Returns:
        The difference in words; empty if they agree.
    """
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
