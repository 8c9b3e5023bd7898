"""Writing pixels and metadata in each format, as far as the format holds them."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import ExifTags, Image, PngImagePlugin

from deeprftv2_arch.restoration.metadata import DIRECTORIES, ORIENTATION, Metadata, app13

HEIC_SUFFIXES = ('.heic', '.heif', '.hif')
JPEG_SEGMENT = 65533
"""Most bytes of a JPEG file's segment; what is longer is left out."""

XMP_KEYWORD = 'XML:com.adobe.xmp'

_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_PNG_PIXEL_CHUNKS = (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND')


def encode(pixels: np.ndarray, file_format: str, quality: int, metadata: Metadata) -> bytes:
    """The bytes of a file.

    Args:
        pixels: (H, W), (H, W, 2) with alpha, (H, W, 3) RGB or (H, W, 4) RGBA; uint8, or uint16 for PNG and TIFF.
        file_format: One of `FORMATS`.
        quality: Of JPEG and WebP, 1 to 100.
        metadata: What to write beside the pixels.
    """
    return FORMATS[file_format].encode(pixels, quality, metadata)


def _encode_jpeg(pixels: np.ndarray, quality: int, metadata: Metadata) -> bytes:
    options = _profile_and_exif(metadata) | {'quality': quality, 'subsampling': 0, 'optimize': True}
    if len(metadata.exif) > JPEG_SEGMENT:
        options['exif'] = metadata.orientation_only()
    if 0 < len(metadata.xmp) <= JPEG_SEGMENT - 31:
        options['xmp'] = metadata.xmp
    if metadata.comment:
        options['comment'] = metadata.comment
    if metadata.dpi:
        options['dpi'] = metadata.dpi
    return _save(Image.fromarray(pixels), 'JPEG', extra=app13(metadata.photoshop), **options)


def _encode_webp(pixels: np.ndarray, quality: int, metadata: Metadata) -> bytes:
    options = _profile_and_exif(metadata) | {'quality': quality, 'exact': True}
    if metadata.xmp:
        options['xmp'] = metadata.xmp
    image = Image.fromarray(pixels)
    return _save(image.convert('RGBA') if image.mode == 'LA' else image, 'WEBP', **options)


def _encode_bmp(pixels: np.ndarray, quality: int, metadata: Metadata) -> bytes:
    options: dict[str, Any] = {'dpi': metadata.dpi} if metadata.dpi else {}
    image = Image.fromarray(pixels)
    return _save(image.convert('RGBA') if image.mode == 'LA' else image, 'BMP', **options)


def _encode_png(pixels: np.ndarray, quality: int, metadata: Metadata) -> bytes:
    texts = PngImagePlugin.PngInfo()
    for key, value in metadata.text.items():
        texts.add_itxt(key, value) if not value.isascii() else texts.add_text(key, value)
    if metadata.xmp:
        texts.add_itxt(XMP_KEYWORD, metadata.xmp.decode(errors='replace'))
    options = _profile_and_exif(metadata) | {'pnginfo': texts}
    if metadata.dpi:
        options['dpi'] = metadata.dpi
    if pixels.dtype == np.uint8:
        return _save(Image.fromarray(pixels), 'PNG', **options)
    # Pillow has no colours of 16 bits and OpenCV writes no metadata: the pixels of one, the rest of the other.
    described = _save(Image.new('RGB', (1, 1)), 'PNG', **options)
    return _with_chunks_of(described, cv2.imencode('.png', _to_opencv(pixels))[1].tobytes())


def _with_chunks_of(described: bytes, png: bytes) -> bytes:
    """A PNG file with the chunks of another one that are about the whole picture, before its pixels."""
    extra = b''.join(chunk for kind, chunk in _chunks(described) if kind not in _PNG_PIXEL_CHUNKS)
    chunks = [(kind, chunk) for kind, chunk in _chunks(png) if kind in _PNG_PIXEL_CHUNKS]
    return _PNG_SIGNATURE + chunks[0][1] + extra + b''.join(chunk for _, chunk in chunks[1:])


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and bytes of every chunk: its length, its kind, that many bytes, and a checksum."""
    found, position = [], len(_PNG_SIGNATURE)
    while position < len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], 'big')
        found.append((png[position + 4 : position + 8], png[position:end]))
        position = end
    return found


def _to_opencv(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        return pixels
    orders = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    order = orders[pixels.shape[2]]
    if order is None:  # grey with alpha, which OpenCV does not write
        return np.dstack([pixels[..., 0]] * 3 + [pixels[..., 1]])
    return cv2.cvtColor(pixels, order)


def _encode_tiff(pixels: np.ndarray, quality: int, metadata: Metadata) -> bytes:
    if pixels.dtype == np.uint16:
        return _encode_wide_tiff(pixels, metadata)
    exif = metadata.parsed_exif()
    for tag, value in ((700, metadata.xmp), (34377, metadata.photoshop)):
        if value:
            exif[tag] = value
    # Pillow writes directories of tags, with the settings of the camera, only beside pixels that are not compressed.
    has_directories = any(directory in exif for directory in DIRECTORIES)
    options: dict[str, Any] = {'compression': None if has_directories else 'tiff_adobe_deflate', 'exif': exif}
    if metadata.icc:
        options['icc_profile'] = metadata.icc
    if metadata.dpi:
        options['dpi'] = metadata.dpi
    return _save(Image.fromarray(pixels), 'TIFF', **options)


def _encode_wide_tiff(pixels: np.ndarray, metadata: Metadata) -> bytes:
    """Of Exif only what are tags of TIFF itself: tifffile writes no directories of tags."""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    tags: list[tuple[int, str, int, Any, bool]] = []
    exif = metadata.parsed_exif()
    for tag in sorted(exif.keys()):
        value = exif[tag]
        if tag == ORIENTATION:
            tags.append((int(tag), 'H', 1, int(value), True))
        elif isinstance(value, str) and tag in ExifTags.TAGS and value.isascii():
            tags.append((int(tag), 's', 0, value, True))
    for tag, data in ((700, metadata.xmp), (34377, metadata.photoshop)):
        if data:
            tags.append((tag, 'B', len(data), data, True))
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels,
        photometric='minisblack' if channels < 3 else 'rgb',
        planarconfig='contig' if channels > 1 else None,
        extrasamples=['unassalpha'] if channels in (2, 4) else None,
        compression='zlib',
        predictor=True,
        iccprofile=metadata.icc,
        resolution=metadata.dpi,
        resolutionunit='INCH' if metadata.dpi else None,
        metadata=None,
        software=False,
        extratags=tags,
    )
    return file.getvalue()


def _profile_and_exif(metadata: Metadata) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if metadata.icc:
        options['icc_profile'] = metadata.icc
    if metadata.exif:
        options['exif'] = metadata.exif
    return options


def _save(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


class Format(NamedTuple):
    """A format that photographs are written in."""

    suffixes: tuple[str, ...]
    encode: Callable[[np.ndarray, int, Metadata], bytes]
    has_alpha: bool = True
    has_16_bits: bool = False


FORMATS = {
    'JPEG': Format(('.jpg', '.jpeg', '.jpe', '.jfif', '.mpo'), _encode_jpeg, has_alpha=False),
    'PNG': Format(('.png',), _encode_png, has_16_bits=True),
    'TIFF': Format(('.tif', '.tiff'), _encode_tiff, has_16_bits=True),
    'WEBP': Format(('.webp',), _encode_webp),
    'BMP': Format(('.bmp', '.dib'), _encode_bmp),
}
"""By the names that Pillow gives them; the first suffix is the usual one."""

PHOTO_SUFFIXES = frozenset(suffix for known in FORMATS.values() for suffix in known.suffixes) | set(HEIC_SUFFIXES)
"""What is looked for in a folder."""
