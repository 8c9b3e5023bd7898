"""decode_image against OpenCV's plain decoding, and against files cut short or changed at every kind of place."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from basicsr.utils import imfrombytes
from PIL import Image

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import decode_image


def picture(*shape: int, dtype=np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).random(shape)
    return (values * np.iinfo(dtype).max).astype(dtype) if np.issubdtype(dtype, np.integer) else values.astype(dtype)


def encode(suffix: str, image: np.ndarray, *parameters: int) -> bytes:
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def jpeg_with_thumbnail() -> bytes:
    """A JPEG whose header holds a smaller JPEG, end marker and all, as cameras write it."""
    main, thumbnail = encode('.jpg', picture(64, 64, 3)), encode('.jpg', picture(16, 16, 3))
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    return main[:2] + segment + main[2:]


COMPLETE = {
    'png': encode('.png', picture(40, 48, 3)),
    'png16': encode('.png', picture(40, 48, 3, dtype=np.uint16)),
    'jpeg': encode('.jpg', picture(64, 64, 3)),
    'progressive': encode('.jpg', picture(64, 64, 3), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    'restarts': encode('.jpg', picture(64, 64, 3), cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    'thumbnail': jpeg_with_thumbnail(),
    'bmp': encode('.bmp', picture(40, 48, 3)),
    'tiff': encode('.tif', picture(40, 48, 3)),
    'webp': encode('.webp', picture(40, 48, 3)),
}


@pytest.mark.parametrize('kind', COMPLETE)
def test_complete_files_decode(kind):
    data = COMPLETE[kind]
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    np.testing.assert_array_equal(decode_image(data, 'x'), expected)


@pytest.mark.parametrize('kept', [0.05, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize('kind', COMPLETE)
def test_truncated_files_are_refused(kind, kept):
    data = COMPLETE[kind]
    with pytest.raises(DataError, match=r'^some/file: '):
        decode_image(data[: int(kept * len(data))], 'some/file')


@pytest.mark.parametrize('kind', ['png', 'jpeg', 'progressive', 'restarts', 'thumbnail'])
def test_every_truncation_is_seen_before_decoding(kind, monkeypatch):
    # Several versions of OpenCV decode what is there of a truncated file, so the check must not rely on the decoder.
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('a truncated file reached the decoder'))
    data = COMPLETE[kind]
    for length in range(8, len(data) - 1):
        with pytest.raises(DataError, match='truncated'):
            decode_image(data[:length], 'x')


def test_bytes_after_the_end_are_no_damage():
    for kind in ('png', 'jpeg'):
        decode_image(COMPLETE[kind] + bytes(100), 'x')


def test_one_changed_byte_of_a_png_is_seen():
    data = bytearray(COMPLETE['png'])
    data[len(data) // 2] ^= 1
    with pytest.raises(DataError, match='checksum'):
        decode_image(bytes(data), 'x')


@pytest.mark.parametrize('data', [b'', b'not an image at all', b'\x89PNG\r\n\x1a\n', b'\xff\xd8', b'BM' + bytes(60)])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(DataError, match=r'^some/file: '):
        decode_image(data, 'some/file')


@pytest.mark.parametrize('channels', [(), (1,), (4,)])
def test_grey_and_opaque_images_become_colour_as_in_basicsr(channels):
    pixels = picture(9, 8, *channels)
    if channels == (4,):
        pixels[..., 3] = 255
    data = encode('.png', pixels)
    image = decode_image(data, 'x')
    assert image.shape == (9, 8, 3)
    np.testing.assert_array_equal(image, imfrombytes(data))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_one_transparent_pixel_is_refused(dtype):
    pixels = picture(9, 8, 4, dtype=dtype)
    pixels[..., 3] = np.iinfo(dtype).max
    pixels[4, 5, 3] -= 1
    with pytest.raises(DataError, match=r'^some/file: the image has transparent pixels'):
        decode_image(encode('.png', pixels), 'some/file')


def test_sixteen_bits_are_kept():
    deep = picture(9, 8, 3, dtype=np.uint16)
    np.testing.assert_array_equal(decode_image(encode('.png', deep), 'x'), deep)


def test_float_images_must_be_finite_and_in_range():
    image = picture(9, 8, 3, dtype=np.float32)
    np.testing.assert_array_equal(decode_image(encode('.tif', image), 'x'), image)
    for value, message in [(np.nan, '1 pixels are NaN'), (np.inf, '1 pixels are NaN'), (2.0, r'lie in \[0, 1\]')]:
        wrong = image.copy()
        wrong[3, 4] = value
        with pytest.raises(DataError, match=f'some/file.*{message}'):
            decode_image(encode('.tif', wrong), 'some/file')


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


COLOUR = Image.fromarray(picture(9, 8, 3))
GREY = COLOUR.convert('L')
PALETTE = COLOUR.quantize(16)
FIRST = COLOUR.getpixel((0, 0))


def with_alpha(image: Image.Image, alpha: int) -> Image.Image:
    image = image.copy()
    image.putalpha(alpha)
    return image


def bmp(alpha: int, mask: int) -> bytes:
    """A BMP of 32 bits, of which the last eight are an alpha channel if the mask says so, and nothing otherwise."""
    pixels = np.dstack([picture(9, 8, 3), np.full((9, 8), alpha, np.uint8)]).tobytes()
    masks = struct.pack('<IIII', 0xFF0000, 0xFF00, 0xFF, mask)
    head = struct.pack('<IiiHHIIiiII', 108, 8, -9, 1, 32, 3, len(pixels), 0, 0, 0, 0) + masks + bytes(52)
    return b'BM' + struct.pack('<IHHI', 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


TRANSPARENT = {
    'palette': saved(PALETTE, 'PNG', transparency=bytes([0] * 8 + [255] * 8)),
    'colour key': saved(COLOUR, 'PNG', transparency=FIRST),
    'grey key': saved(GREY, 'PNG', transparency=GREY.getpixel((0, 0))),
    'grey and alpha': saved(with_alpha(GREY, 100), 'PNG'),
    'webp': saved(with_alpha(COLOUR, 100), 'WEBP', lossless=True),
    'lossy webp': saved(with_alpha(COLOUR, 100), 'WEBP'),
    'tiff': saved(with_alpha(COLOUR, 100), 'TIFF'),
    'grey tiff': saved(with_alpha(GREY, 100), 'TIFF'),
    'tiff of 16 bits': encode('.tif', np.dstack([picture(9, 8, 3), np.full((9, 8), 100)]).astype(np.uint16) * 257),
    'bmp': bmp(100, 0xFF000000),
}


@pytest.mark.parametrize('bit_depth', [None, 8])
@pytest.mark.parametrize('kind', TRANSPARENT)
def test_transparency_is_refused_in_every_format(kind, bit_depth):
    with pytest.raises(DataError, match=r'^some/file: the image has transparent pixels'):
        decode_image(TRANSPARENT[kind], 'some/file', bit_depth)


OPAQUE = {
    'palette': (saved(PALETTE, 'PNG', transparency=bytes([255] * 16)), PALETTE),
    'unused key': (saved(COLOUR, 'PNG', transparency=(1, 2, 3)), COLOUR),
    'unused grey key': (saved(Image.new('L', (8, 9), 7), 'PNG', transparency=9), Image.new('L', (8, 9), 7)),
    'one bit': (saved(GREY.convert('1'), 'PNG'), GREY.convert('1')),
    'grey and alpha': (saved(with_alpha(GREY, 255), 'PNG'), GREY),
    'webp': (saved(with_alpha(COLOUR, 255), 'WEBP', lossless=True), COLOUR),
    'tiff': (saved(with_alpha(COLOUR, 255), 'TIFF'), COLOUR),
    'grey tiff': (saved(with_alpha(GREY, 255), 'TIFF'), GREY),
    'plain tiff': (saved(COLOUR, 'TIFF'), COLOUR),
    'bmp': (bmp(255, 0xFF000000), Image.fromarray(picture(9, 8, 3)[..., ::-1])),
    'bmp with a gap': (bmp(0, 0), Image.fromarray(picture(9, 8, 3)[..., ::-1])),
}


@pytest.mark.parametrize('kind', OPAQUE)
def test_opaque_images_keep_their_colours(kind):
    data, image = OPAQUE[kind]
    np.testing.assert_array_equal(decode_image(data, 'x')[..., ::-1], np.asarray(image.convert('RGB')))


def test_image_above_the_limit_of_opencv_is_refused_with_its_size():
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', 40000, 30000, 1, 0, 0, 0, 0))
    data = b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(bytes(5001))) + chunk(b'IEND', b'')
    with pytest.raises(DataError, match=r'^some/file: .*40,000 x 30,000 pixels.*OPENCV_IO_MAX_IMAGE_PIXELS'):
        decode_image(data, 'some/file')
