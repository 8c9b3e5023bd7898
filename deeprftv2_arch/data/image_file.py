"""From the bytes of an image file to an array, or to an error that names the file."""

from __future__ import annotations

import io
import re
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

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
            are not finite; if it has transparent pixels, whatever its format; or if it is larger than OpenCV reads.
    """
    if not data:
        raise DataError(f'{name}: the image is empty (0 bytes). Copy it again from its source.')
    damage = _damage(data)
    if damage:
        raise DataError(f'{name}: the image is damaged: {damage}. Copy it again from its source.')
    depth_of_file = 0 if bit_depth == 8 else cv2.IMREAD_ANYDEPTH
    image = _decode(data, cv2.IMREAD_COLOR | depth_of_file, name)
    if image is None:
        raise DataError(f'{name}: OpenCV cannot decode this file as an image. Replace it or copy it again.')
    if _is_transparent(data, name):
        raise DataError(
            f'{name}: the image has transparent pixels, which do not tell what shows through. Save it without '
            'transparency.'
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


def _decode(data: bytes, flags: int, name: str) -> np.ndarray | None:
    """Decode with OpenCV, which has no image for what it does not know, and raises for what is too large."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        size = _size_in_header(data)
        if size is None:
            raise DataError(f'{name}: OpenCV cannot decode this image: {error.err}.') from error
        raise DataError(
            f'{name}: OpenCV does not read {size[0]:,} x {size[1]:,} pixels ({error.err}). Cut the image into parts; '
            'or, where the memory is enough, raise the limits by the environment variables '
            'OPENCV_IO_MAX_IMAGE_PIXELS, OPENCV_IO_MAX_IMAGE_WIDTH and OPENCV_IO_MAX_IMAGE_HEIGHT.'
        ) from error


def _size_in_header(data: bytes) -> tuple[int, int] | None:
    """Width and height as the header of the file tells them."""
    if data.startswith(PNG_SIGNATURE):
        return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')
    header = _pillow_header(data)
    return None if header is None else header.size


def _pillow_header(data: bytes) -> Image.Image | None:
    """Open a file with Pillow, which reads only the header; None where it does not know the format."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about size, and about fields of the header that do not matter here
        try:
            return Image.open(io.BytesIO(data))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return None


def _is_transparent(data: bytes, name: str) -> bool:
    """Whether a file has an alpha channel, a palette or a colour key that is not opaque all over."""
    if data.startswith(_JPEG_START) or (data.startswith(PNG_SIGNATURE) and not _png_has_alpha(data)):
        return False
    header = _pillow_header(data)
    if header is not None and not header.has_transparency_data:
        return False
    image = _decode(data, cv2.IMREAD_UNCHANGED, name)
    if image is not None and image.ndim == 3 and image.shape[2] == 4:
        alpha = image[..., 3]
        return float(alpha.min()) < FULL_SCALE.get(alpha.dtype, 1.0)
    if header is None:
        return False  # OpenCV alone knows the format, and finds no alpha channel
    # OpenCV passes over the alpha channel of grey images in TIFF, and over the key of grey ones in PNG.
    if header.mode not in ('L', 'LA', 'La', 'P', 'PA', 'RGB', 'RGBA', 'RGBa'):
        return True
    alpha = np.asarray(header.convert('RGBA').getchannel('A'))
    return int(alpha.min()) < 255


def _png_has_alpha(data: bytes) -> bool:
    """Whether a PNG file has an alpha channel, or a chunk that makes colours transparent."""
    before_pixels = data[: max(data.find(b'IDAT'), 0)]
    return bool(data[_PNG_COLOUR_TYPE] & 4) or b'tRNS' in before_pixels


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
