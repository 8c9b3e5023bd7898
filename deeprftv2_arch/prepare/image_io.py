"""PNG files: their header, read without the pixels, and their bytes, to be written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from deeprftv2_arch.data.image_file import PNG_SIGNATURE, read_image_file

PNG_LEVEL = 3
"""Compression of the PNG files that are written: a third larger than the smallest, and many times faster to write."""

_HEADER_BYTES = 26
"""Signature, length and kind of the first chunk, width, height, depth and colour type."""


class PngHeader(NamedTuple):
    """Size in pixels, bits per channel, and whether there is an alpha channel."""

    height: int
    width: int
    bits: int
    has_alpha: bool


def png_header(path: Path) -> PngHeader | None:
    """Read the header of a PNG file.

    Returns:
        The header, or None for any other file.

    Raises:
        DataError: If the file cannot be read.
    """
    head = read_image_file(path, _HEADER_BYTES)
    if not head.startswith(PNG_SIGNATURE) or len(head) < _HEADER_BYTES:
        return None
    width, height, bits, colour = struct.unpack('>IIBB', head[16:_HEADER_BYTES])
    return PngHeader(height, width, bits, has_alpha=bool(colour & 4))


def encode_png(image: np.ndarray) -> Callable[[Path], None]:
    """Return the ``write`` of :func:`~deeprftv2_arch.prepare.files.write_file` for an image in BGR order."""
    data = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])[1].tobytes()

    def write(path: Path) -> None:
        path.write_bytes(data)

    return write
