"""Photographs as files: pixels, transparency and metadata in, and the same out again.

Pillow reads and writes files of 8 bits and the metadata of all; it has no colour of 16 bits. There OpenCV reads, and
OpenCV (PNG) and tifffile (TIFF) write. Pixels stay in the colour space that they are stored in. They stay as they lie
in the file too, and a tag tells how to turn them; but both libraries turn TIFF files upright.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from deeprftv2_arch.restoration.metadata import Metadata, read_metadata
from deeprftv2_arch.restoration.photo_formats import FORMATS, HEIC_SUFFIXES, encode
from deeprftv2_arch.utils.errors import UserError

MAX_MEGAPIXELS = 100.0
"""Above this a photograph is refused unless asked for: it may be a mistake, and takes 45 bytes a pixel and hours."""

_WIDE = {'I;16', 'I;16B', 'I;16L', 'I;16N'}
_REFUSED = {
    'CMYK': 'CMYK colours',
    'LAB': 'Lab colours',
    'HSV': 'HSV colours',
    'F': 'floating point pixels (HDR)',
    'I': 'pixels of 32 bits',
}


@dataclass(frozen=True)
class Photo:
    """A photograph in memory.

    Attributes:
        pixels: (H, W, 3) RGB or (H, W), uint8 or uint16.
        alpha: (H, W) of the same type, or None.
        format: Name of the format in `FORMATS`.
        metadata: What travels along.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    format: str
    metadata: Metadata


def read_photo(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Photo:
    """Read a photograph.

    Args:
        path: JPEG, PNG, TIFF, WebP or BMP; HEIC with the package pillow-heif.
        max_megapixels: Largest size, told from the head of the file before pixels are decoded.

    Raises:
        UserError: The file is none of these, damaged, too large, animated, or has colours that cannot be kept.
    """
    _register_heif(path)
    try:
        with _any_size(), Image.open(path) as image:
            _check(image, path, max_megapixels)
            is_wide = _is_wide(image, path)
            # Decoding all of it tells whether the file is whole, also where OpenCV gives the pixels.
            image.load()
            metadata = read_metadata(image)
            pixels = _decode_wide(path) if is_wide else _decode(image)
            kind = 'JPEG' if image.format in ('MPO', 'HEIF') else str(image.format)
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(_not_a_photo(path)) from error
    except MemoryError as error:
        raise UserError(f'{path}: too little memory to decode it.') from error
    except OSError as error:
        if error.errno is not None:
            raise UserError(f'{path} cannot be read: {error.strerror}.') from error
        raise UserError(f'{path} is damaged: {error}. Copy it again from its source.') from error
    except Exception as error:  # a decoder fed with arbitrary bytes raises all there is
        raise UserError(f'{path} is damaged: {error}. Copy it again from its source.') from error
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        colours = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
        return Photo(np.ascontiguousarray(colours), np.ascontiguousarray(pixels[..., -1]), kind, metadata)
    return Photo(pixels, None, kind, metadata)


def write_format(photo: Photo, path: Path, wanted: str | None) -> str:
    """The format that a photograph is written in.

    Raises:
        UserError: The wanted one cannot hold the photograph's transparency.
    """
    name = wanted or photo.format
    if photo.alpha is not None and not FORMATS[name].has_alpha:
        raise UserError(f'{path} has transparency, which {name} does not hold. Choose --format png, tiff or webp.')
    return name


def encode_photo(photo: Photo, pixels: np.ndarray, file_format: str, quality: int, keep_metadata: bool) -> bytes:
    """The bytes of a file with new pixels and the transparency and metadata of a photograph.

    Args:
        photo: Where transparency and metadata come from.
        pixels: (h, w, 3) or (h, w), of its type; may be larger than the photograph.
        file_format: Name of the format in `FORMATS`.
        quality: Of JPEG and WebP, 1 to 100.
        keep_metadata: Whether metadata are written. The colour profile always is: without it colours would change.
    """
    metadata = (
        photo.metadata if keep_metadata else Metadata(icc=photo.metadata.icc, exif=photo.metadata.orientation_only())
    )
    alpha = photo.alpha
    height, width = pixels.shape[:2]
    if pixels.shape[:2] != photo.pixels.shape[:2]:
        metadata = replace(metadata, exif=metadata.resized(width, height))
        if alpha is not None:
            alpha = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_CUBIC)
    if pixels.dtype == np.uint16 and not FORMATS[file_format].has_16_bits:
        pixels = _to_8_bits(pixels)
        alpha = None if alpha is None else _to_8_bits(alpha)
    if alpha is not None:
        pixels = np.dstack([pixels, alpha])
    return encode(pixels, file_format, quality, metadata)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def _check(image: Image.Image, path: Path, max_megapixels: float) -> None:
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise UserError(
            f'{path} has {image.width} x {image.height} pixels, {megapixels:.0f} megapixels. If you mean it, allow it '
            f'with --max-megapixels {megapixels:.0f}.'
        )
    if image.format not in FORMATS and image.format not in ('MPO', 'HEIF'):
        raise UserError(f'{path}: {image.format} is not supported. Save it as {", ".join(FORMATS)}.')
    # An MPO is a JPEG with a preview, a second view or a gain map behind the photograph.
    frames = getattr(image, 'n_frames', 1)
    if frames > 1 and image.format not in ('MPO', 'HEIF'):
        raise UserError(f'{path} has {frames} pages or frames. Save the one to restore as a file of its own.')
    if image.mode in _REFUSED:
        raise UserError(
            f'{path} has {_REFUSED[image.mode]}, which are not supported. Save it as RGB with 8 or 16 bits.'
        )


def _is_wide(image: Image.Image, path: Path) -> bool:
    """Whether a file has 16 bits per channel; Pillow opens those with colours as if they had 8."""
    if image.format == 'PNG':
        with open(path, 'rb') as file:
            return file.read(25)[24] == 16
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = set(np.ravel(image.tag_v2.get(258, 8)).tolist())
        if bits == {16} and 3 in np.ravel(image.tag_v2.get(339, 1)):
            raise UserError(f'{path} has {_REFUSED["F"]}, which are not supported. Save it as RGB with 8 or 16 bits.')
        return bits == {16}
    return image.mode in _WIDE


def _decode(image: Image.Image) -> np.ndarray:
    """uint8 pixels of 1 to 4 channels: grey, grey with alpha, RGB or RGBA."""
    if image.mode in ('1', 'L'):
        return np.asarray(image.convert('L'))
    if image.mode in ('LA', 'La'):
        return np.asarray(image.convert('LA'))
    if image.has_transparency_data:
        return np.asarray(image.convert('RGBA'))
    return np.asarray(image.convert('RGB'))


def _decode_wide(path: Path) -> np.ndarray:
    """uint16 pixels: (H, W), (H, W, 3) or (H, W, 4)."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16:
        raise UserError(f'{path}: this form of 16 bits is not supported. Save it as PNG, or as TIFF without planes.')
    if pixels.ndim == 3:
        order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        return cv2.cvtColor(pixels, order)
    return pixels


def _not_a_photo(path: Path) -> str:
    if path.suffix.lower() in HEIC_SUFFIXES:
        return f"{path}: HEIC is read by the package pillow-heif. Try: pip install 'deeprftv2_arch[heic]'"
    if path.stat().st_size == 0:
        return f'{path} is empty (0 bytes). Copy it again from its source.'
    if path.suffix.lower() in ('.hdr', '.exr'):
        return f'{path}: HDR is not supported. Save it as {", ".join(FORMATS)}.'
    return f'{path} is not a photograph: its content is none of {", ".join(FORMATS)}.'


def _register_heif(path: Path) -> None:
    if path.suffix.lower() in HEIC_SUFFIXES:
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            return
        register_heif_opener()


@contextmanager
def _any_size() -> Iterator[None]:
    """Pillow's own limit of size is lifted; ours is told before pixels are decoded."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of damaged metadata, which are then left out
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
