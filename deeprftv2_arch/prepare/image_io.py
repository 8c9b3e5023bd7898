"""Bytes of image files: read whole, the header of a PNG file, and PNG files to be written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from deeprftv2_arch.data.errors import DataError

PNG_LEVEL = 3
"""Compression of the PNG files that are written: a third larger than the smallest, and many times faster to write."""


class PngHeader(NamedTuple):
    """What the first bytes of a PNG file say."""

    height: int
    width: int
    bits: int
    has_alpha: bool


def png_header(path: Path) -> PngHeader | None:
    """Read the header of a PNG file; None for any other file.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        with path.open('rb') as file:
            head = file.read(26)
    except OSError as error:
        raise DataError(f'{path}: cannot read the image: {error.strerror or error}.') from error
    if not head.startswith(b'\x89PNG\r\n\x1a\n') or len(head) < 26:
        return None
    width, height, bits, colour = struct.unpack('>IIBB', head[16:26])
    return PngHeader(height, width, bits, has_alpha=bool(colour & 4))


def read_bytes(path: Path) -> bytes:
    """Read a file whole.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f'{path}: cannot read the image: {error.strerror or error}.') from error


def encode_png(image: np.ndarray) -> Callable[[Path], None]:
    """The ``write`` of :func:`~deeprftv2_arch.prepare.files.write_file` for an image in BGR order."""
    data = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].tobytes()
    return lambda path: path.write_bytes(data) and None
