"""From the bytes of an image file to an array, or to an error that names the file."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import cv2
import numpy as np

from deeprftv2_arch.data.errors import DataError

IMAGE_SUFFIXES = frozenset({'.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp'})

FULL_SCALE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""The value that stands for white, by the type that OpenCV decodes to."""

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_COLOUR_TYPE = 25  # where it stands in a file; its third bit tells of an alpha channel
_JPEG_START = b'\xff\xd8'
_JPEG_END = 0xD9
_JPEG_STAND_ALONE = {0x01, *range(0xD0, 0xD9)}
# In entropy-coded data 0xFF is followed by a stuffed zero, a restart marker or fill; anything else ends the data.
_JPEG_NEXT_MARKER = re.compile(rb'\xff([^\x00\xd0-\xd7\xff])')


def read_image_file(path: str | Path, size: int = -1) -> bytes:
    """Read an image file whole, or its first ``size`` bytes.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with open(path, 'rb') as file:
            return file.read(size)
    except OSError as error:
        raise DataError(f'{path}: cannot read the image: {error.strerror or error}.') from error


def decode_image(data: bytes, name: str, bit_depth: int | None = None) -> np.ndarray:
    """Decode one image to three colour channels.

    Grey images are repeated over the channels and an opaque alpha channel is dropped. PNG and JPEG files are first
    checked to be complete: several versions of OpenCV decode a truncated file to an image with a grey lower part and
    report no error.

    Args:
        data: The whole file.
        name: What to call it in a message: its path, or the LMDB and the key.
        bit_depth: None for the depth of the file. 8 gives of a 16-bit file what a plain ``cv2.imread`` gives, which
            the published figures on DPDD were computed from. 16 refuses any other file.

    Returns:
        (H, W, 3) in BGR order, of one of the types in ``FULL_SCALE``; floating point images lie in [0, 1].

    Raises:
        DataError: If the image is truncated, damaged, of an unsupported type or the wrong depth, or holds values that
            are not finite; or if it has transparent pixels.
    """
    if not data:
        raise DataError(f'{name}: the image is empty (0 bytes). Copy it again from its source.')
    damage = _damage(data)
    if damage:
        raise DataError(f'{name}: the image is damaged: {damage}. Copy it again from its source.')
    depth_of_file = 0 if bit_depth == 8 else cv2.IMREAD_ANYDEPTH
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | depth_of_file)
    if image is None:
        raise DataError(f'{name}: OpenCV cannot decode this file as an image. Replace it or copy it again.')
    if _is_transparent(data):
        raise DataError(
            f'{name}: the image has transparent pixels, which do not tell what shows through. Save it without an alpha '
            'channel.'
        )
    if image.dtype not in FULL_SCALE:
        raise DataError(f'{name}: pixels of type {image.dtype} are not supported. Save it with 8 or 16 bits.')
    if bit_depth == 16 and image.dtype != np.uint16:
        raise DataError(
            f'{name}: expected 16 bits (bit_depth: 16), got pixels of type {image.dtype}. Correct one of them.'
        )
    if image.dtype == np.float32:
        _check_values(image, name)
    return image


def _is_transparent(data: bytes) -> bool:
    """Whether a PNG file has an alpha channel that is not opaque all over."""
    has_alpha = data.startswith(PNG_SIGNATURE) and data[_PNG_COLOUR_TYPE] & 4
    if not has_alpha:
        return False
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return False
    alpha = image[..., -1]
    return int(alpha.min()) < FULL_SCALE[alpha.dtype]


def _check_values(image: np.ndarray, name: str) -> None:
    if not np.isfinite(image).all():
        count = int(np.count_nonzero(~np.isfinite(image).all(axis=2)))
        raise DataError(f'{name}: {count} pixels are NaN or infinite. Repair or replace the image.')
    low, high = float(image.min()), float(image.max())
    if low < 0 or high > 1:
        raise DataError(f'{name}: floating point images must lie in [0, 1], this one spans [{low:g}, {high:g}].')


def _damage(data: bytes) -> str:
    """Say what is wrong with the structure of a PNG or JPEG file; empty if nothing is, or for other formats."""
    if data.startswith(PNG_SIGNATURE):
        return _png_damage(data)
    if data.startswith(_JPEG_START):
        return '' if _jpeg_is_complete(data) else 'the JPEG data end before the end marker (truncated file)'
    return ''


def _png_damage(data: bytes) -> str:
    position, kind = len(PNG_SIGNATURE), b''
    while kind != b'IEND':
        # A chunk is its length, its kind, that many bytes, and a CRC-32 of kind and bytes.
        length, kind = int.from_bytes(data[position : position + 4], 'big'), data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            return 'the PNG data end before the end chunk (truncated file)'
        body = memoryview(data)[position + 4 : end - 4]
        if zlib.crc32(body) != int.from_bytes(data[end - 4 : end], 'big'):
            return f'the checksum of a PNG chunk is wrong (byte {position})'
        position = end
    return ''


def _jpeg_is_complete(data: bytes) -> bool:
    position = len(_JPEG_START)
    while match := _JPEG_NEXT_MARKER.search(data, position):
        marker, position = match.group(1)[0], match.end()
        if marker == _JPEG_END:
            return True
        if marker not in _JPEG_STAND_ALONE:
            # Skip the segment whole: an embedded thumbnail has an end marker of its own.
            position += int.from_bytes(data[position : position + 2], 'big')
    return False
