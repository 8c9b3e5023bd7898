"""Every kind of photograph: read, written, and read again by the libraries that others use."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin

from deeprftv2_arch.restoration.metadata import ORIENTATION
from deeprftv2_arch.restoration.photo_file import Photo, encode_photo, read_photo, write_format
from deeprftv2_arch.utils.errors import UserError

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
XMP = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"/><?xpacket end="w"?>'
DATE = '2024:05:06 07:08:09'
IPTC = b'8BIM\x04\x04\x00\x00\x00\x00\x00\x08\x1c\x02\x78\x00\x03cat'


def picture(height: int = 40, width: int = 56, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [np.sin(0.11 * x + k) * np.cos(0.07 * y - k) for k in range(channels)]
    return ((np.dstack(planes) * 0.45 + 0.5) * np.iinfo(dtype).max).astype(dtype).squeeze()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = 6
    tags[ExifTags.Base.Model] = 'Camera'
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = DATE
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] = 56
    tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = 'N'
    loaded = Image.Exif()
    loaded.load(tags.tobytes())
    return loaded


def restored(path: Path, *, keep_metadata: bool = True, file_format: str | None = None, scale: int = 1) -> Path:
    """Write a photograph as if a network had made every pixel 255 minus its value."""
    photo = read_photo(path)
    pixels = np.iinfo(photo.pixels.dtype).max - photo.pixels
    pixels = pixels.repeat(scale, 0).repeat(scale, 1)
    name = write_format(photo, path, file_format)
    out = path.with_name(f'out.{name.lower()}')
    out.write_bytes(encode_photo(photo, pixels, name, 95, keep_metadata))
    return out


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'bmp'])
@pytest.mark.parametrize('channels', [1, 3])
def test_eight_bits(tmp_path, suffix, channels):
    path = tmp_path / f'photo.{suffix}'
    Image.fromarray(picture(channels=channels)).save(path)
    photo = read_photo(path)
    with Image.open(path) as image:
        expected = np.asarray(image)
    # WebP has no grey.
    grey = channels == 1 and suffix != 'webp'
    assert photo.pixels.shape == ((40, 56) if grey else (40, 56, 3))
    assert np.array_equal(photo.pixels, expected)
    assert photo.alpha is None
    with Image.open(restored(path)) as image:
        assert image.format == photo.format
        difference = np.abs(np.asarray(image).astype(int) - (255 - photo.pixels))
        assert image.mode == ('L' if grey else 'RGB')
    assert difference.max() <= (0 if suffix in ('png', 'tif', 'bmp') else 12)


def test_jpeg_keeps_full_colour_resolution(tmp_path):
    Image.fromarray(picture()).save(tmp_path / 'photo.jpg', subsampling=2)
    with Image.open(restored(tmp_path / 'photo.jpg')) as image:
        assert [(h, v) for _, h, v, _ in image.layer] == [(1, 1)] * 3


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp'])
@pytest.mark.parametrize('file_format', [None, 'JPEG', 'PNG', 'TIFF', 'WEBP'])
def test_metadata_travel_between_all_formats(tmp_path, suffix, file_format):
    path = tmp_path / f'photo.{suffix}'
    options = {'exif': exif(), 'icc_profile': ICC}
    if suffix == 'png':
        options['pnginfo'] = PngImagePlugin.PngInfo()
        options['pnginfo'].add_itxt('XML:com.adobe.xmp', XMP.decode())
    elif suffix == 'tif':
        options['exif'][700] = XMP
    else:
        options['xmp'] = XMP
    Image.fromarray(picture()).save(path, **options)
    with Image.open(restored(path, file_format=file_format)) as image:
        tags = image.getexif()
        assert image.info['icc_profile'] == ICC
        shown = ImageOps.exif_transpose(image)
        assert shown.size == (40, 56)
        assert tags[ExifTags.Base.Model] == 'Camera'
        assert tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == DATE
        assert tags.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == 'N'
        found = image.info.get('xmp') or image.info.get('XML:com.adobe.xmp') or b''
        assert (found.encode() if isinstance(found, str) else found) == XMP


def test_exif_bytes_are_not_touched(tmp_path):
    """Parts that no library understands, such as a maker's notes, lie where the maker put them."""
    raw = exif().tobytes() + b'maker'
    Image.fromarray(picture()).save(tmp_path / 'photo.jpg', exif=raw)
    with Image.open(restored(tmp_path / 'photo.jpg')) as image:
        assert image.info['exif'] == raw


def test_caption_comment_and_resolution_of_a_jpeg(tmp_path):
    segment = b'Photoshop 3.0\0' + IPTC
    extra = b'\xff\xed' + (len(segment) + 2).to_bytes(2, 'big') + segment
    Image.fromarray(picture()).save(tmp_path / 'photo.jpg', extra=extra, comment=b'a comment', dpi=(300, 300))
    for name in ('photo.jpg', 'out.jpeg'):
        with Image.open(tmp_path / name) as image:
            assert dict(image.applist)['APP13'] == segment
            assert image.info['comment'] == b'a comment'
            assert image.info['dpi'] == (300, 300)
        restored(tmp_path / 'photo.jpg')


def test_texts_of_a_png(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text('Author', 'Ada')
    texts.add_itxt('Title', 'Grüße')
    Image.fromarray(picture()).save(tmp_path / 'photo.png', pnginfo=texts)
    with Image.open(restored(tmp_path / 'photo.png')) as image:
        assert image.text == {'Author': 'Ada', 'Title': 'Grüße'}


def test_stripped_metadata_leave_profile_and_orientation(tmp_path):
    Image.fromarray(picture()).save(tmp_path / 'photo.jpg', exif=exif(), icc_profile=ICC, xmp=XMP, comment=b'me')
    with Image.open(restored(tmp_path / 'photo.jpg', keep_metadata=False)) as image:
        assert image.info['icc_profile'] == ICC
        assert dict(image.getexif()) == {ORIENTATION: 6}
        assert 'xmp' not in image.info
        assert 'comment' not in image.info


def test_enlarged_photograph_tells_its_new_size(tmp_path):
    Image.fromarray(picture()).save(tmp_path / 'photo.jpg', exif=exif())
    with Image.open(restored(tmp_path / 'photo.jpg', scale=2)) as image:
        tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        assert image.size == (112, 80)
        assert tags[ExifTags.Base.ExifImageWidth] == 112
        assert tags[ExifTags.Base.DateTimeOriginal] == DATE


@pytest.mark.parametrize('suffix', ['png', 'tif', 'webp'])
def test_transparency_is_kept_as_it_is(tmp_path, suffix):
    pixels = picture(channels=4)
    Image.fromarray(pixels).save(tmp_path / f'photo.{suffix}', **({'lossless': True} if suffix == 'webp' else {}))
    with Image.open(restored(tmp_path / f'photo.{suffix}')) as image:
        assert image.mode == 'RGBA'
        assert np.array_equal(np.asarray(image)[..., 3], pixels[..., 3])


def test_transparency_of_an_enlarged_photograph(tmp_path):
    Image.fromarray(picture(channels=4)).save(tmp_path / 'photo.png')
    with Image.open(restored(tmp_path / 'photo.png', scale=3)) as image:
        assert image.size == (168, 120)
        assert image.mode == 'RGBA'


def test_grey_with_transparency(tmp_path):
    grey = Image.merge('LA', [Image.new('L', (9, 7), value) for value in (50, 90)])
    grey.save(tmp_path / 'photo.png')
    photo = read_photo(tmp_path / 'photo.png')
    assert photo.pixels.shape == (7, 9)
    with Image.open(restored(tmp_path / 'photo.png')) as image:
        assert image.mode == 'LA'
        assert image.getpixel((0, 0)) == (205, 90)


def test_palette_becomes_its_colours(tmp_path):
    image = Image.fromarray(picture()).quantize(32)
    image.save(tmp_path / 'photo.png')
    assert np.array_equal(read_photo(tmp_path / 'photo.png').pixels, np.asarray(image.convert('RGB')))
    image.save(tmp_path / 'photo.png', transparency=3)
    assert (read_photo(tmp_path / 'photo.png').alpha == 0).any()


def test_one_bit_becomes_grey(tmp_path):
    Image.fromarray(picture(channels=1)).convert('1').save(tmp_path / 'photo.png')
    assert set(np.unique(read_photo(tmp_path / 'photo.png').pixels)) == {0, 255}


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_sixteen_bits_of_a_png(tmp_path, channels):
    pixels = picture(channels=channels, dtype=np.uint16)
    order = {1: pixels, 3: pixels[..., ::-1], 4: pixels[..., [2, 1, 0, 3]] if channels == 4 else pixels}[channels]
    cv2.imwrite(str(tmp_path / 'photo.png'), order)
    photo = read_photo(tmp_path / 'photo.png')
    assert np.array_equal(photo.pixels, pixels[..., :3] if channels == 4 else pixels)
    back = cv2.imread(str(restored(tmp_path / 'photo.png')), cv2.IMREAD_UNCHANGED)
    assert back.dtype == np.uint16
    assert back.shape == order.shape
    assert np.array_equal(back[..., :3] if channels > 1 else back, 65535 - (order[..., :3] if channels > 1 else order))
    if channels == 4:
        assert np.array_equal(back[..., 3], order[..., 3])


@pytest.mark.parametrize('source', ['opencv', 'tifffile'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_sixteen_bits_of_a_tiff(tmp_path, source, channels):
    pixels, path = picture(channels=channels, dtype=np.uint16), tmp_path / 'photo.tif'
    if source == 'opencv':  # compressed with LZW
        order = pixels if channels == 1 else pixels[..., [2, 1, 0, 3][:channels]]
        cv2.imwrite(str(path), order)
    else:
        extra = ['unassalpha'] if channels == 4 else None
        tifffile.imwrite(path, pixels, photometric='minisblack' if channels == 1 else 'rgb', extrasamples=extra)
    assert np.array_equal(read_photo(path).pixels, pixels[..., :3] if channels == 4 else pixels)
    back = tifffile.imread(restored(path))
    assert back.dtype == np.uint16
    expected = 65535 - pixels
    if channels == 4:
        expected[..., 3] = pixels[..., 3]
    assert np.array_equal(back, expected)


@pytest.mark.parametrize('suffix', ['png', 'tif'])
@pytest.mark.parametrize('file_format', ['PNG', 'TIFF', 'JPEG', 'WEBP'])
def test_metadata_of_sixteen_bits(tmp_path, suffix, file_format):
    """16-bit TIFF keeps no directory of camera settings, the others all."""
    pixels, path = picture(dtype=np.uint16), tmp_path / f'photo.{suffix}'
    photo = Photo(pixels, None, 'PNG', read_metadata_of(tmp_path))
    path.write_bytes(encode_photo(photo, pixels, 'PNG' if suffix == 'png' else 'TIFF', 95, True))
    out = restored(path, file_format=file_format)
    with Image.open(out) as image:
        assert image.info['icc_profile'] == ICC
        assert image.getexif()[ExifTags.Base.Model] == 'Camera'
        if 'tif' not in suffix and file_format != 'TIFF':
            assert image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] == DATE
    if file_format in ('JPEG', 'WEBP'):
        with Image.open(out) as image:
            shown = np.asarray(ImageOps.exif_transpose(image))
            expected = np.rot90(255 - np.round(pixels / 257), -1)
            assert np.abs(shown - expected).mean() < 4


def test_turned_photograph_looks_the_same(tmp_path):
    """As a viewer shows it, whatever the format and the orientation."""
    for suffix, dtype in (('jpg', np.uint8), ('png', np.uint8), ('tif', np.uint8), ('tif', np.uint16)):
        for orientation in range(1, 9):
            path = tmp_path / f'photo.{suffix}'
            if dtype == np.uint16:
                tags = [(int(ORIENTATION), 'H', 1, orientation, True)]
                tifffile.imwrite(path, picture(dtype=dtype), photometric='rgb', extratags=tags)
            else:
                tags = Image.Exif()
                tags[ORIENTATION] = orientation
                Image.fromarray(picture()).save(path, exif=tags)
            with Image.open(path) as before, Image.open(restored(path)) as after:
                before.load(), after.load()  # which turns a TIFF file upright
                shown = [np.asarray(ImageOps.exif_transpose(image)).astype(int) for image in (before, after)]
            assert shown[0].shape == shown[1].shape
            assert np.abs(shown[0] - (255 - shown[1])).mean() < 4, (suffix, dtype, orientation)


def read_metadata_of(folder: Path):
    Image.fromarray(picture()).save(folder / 'described.jpg', exif=exif(), icc_profile=ICC, xmp=XMP)
    return read_photo(folder / 'described.jpg').metadata


def test_previews_behind_a_jpeg_are_left_out(tmp_path):
    first, second = Image.fromarray(picture()), Image.fromarray(picture(channels=3)[::-1])
    first.save(tmp_path / 'photo.jpg', 'MPO', save_all=True, append_images=[second])
    photo = read_photo(tmp_path / 'photo.jpg')
    assert photo.format == 'JPEG'
    assert np.abs(photo.pixels.astype(int) - picture()).mean() < 3


def refused(path: Path, **options: float) -> str:
    with pytest.raises(UserError) as error:
        read_photo(path, **options)
    message = str(error.value)
    assert '\n' not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ('mode', 'suffix', 'words'),
    [
        ('CMYK', 'jpg', 'CMYK'),
        ('CMYK', 'tif', 'CMYK'),
        ('LAB', 'tif', 'Lab'),
        ('F', 'tif', 'HDR'),
        ('I', 'tif', '32 bits'),
    ],
)
def test_colours_that_cannot_be_kept(tmp_path, mode, suffix, words):
    Image.new(mode, (8, 8)).save(tmp_path / f'photo.{suffix}')
    assert words in refused(tmp_path / f'photo.{suffix}')


def test_half_precision_tiff_is_not_taken_for_sixteen_bits(tmp_path):
    tifffile.imwrite(tmp_path / 'photo.tif', np.zeros((8, 8, 3), np.float16), photometric='rgb')
    refused(tmp_path / 'photo.tif')


@pytest.mark.parametrize('suffix', ['tif', 'webp', 'png'])
def test_several_frames(tmp_path, suffix):
    frames = [Image.fromarray(picture()), Image.fromarray(picture()[::-1])]
    frames[0].save(tmp_path / f'photo.{suffix}', save_all=True, append_images=frames[1:])
    assert '2 pages or frames' in refused(tmp_path / f'photo.{suffix}')


def test_other_formats(tmp_path):
    Image.fromarray(picture()).save(tmp_path / 'photo.gif')
    assert 'GIF is not supported' in refused(tmp_path / 'photo.gif')
    (tmp_path / 'photo.heic').write_bytes(b'\0\0\0\x18ftypheic' + bytes(64))
    assert 'pillow-heif' in refused(tmp_path / 'photo.heic')
    (tmp_path / 'photo.hdr').write_bytes(b'#?RADIANCE\n')
    assert 'HDR' in refused(tmp_path / 'photo.hdr')


def test_no_photographs(tmp_path):
    (tmp_path / 'text.jpg').write_text('a letter to my aunt')
    assert 'is not a photograph' in refused(tmp_path / 'text.jpg')
    (tmp_path / 'empty.jpg').touch()
    assert 'is empty' in refused(tmp_path / 'empty.jpg')


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tif', 'webp', 'bmp'])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f'photo.{suffix}'
    Image.fromarray(picture(100, 100)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert 'damaged' in refused(path)


def test_truncated_files_of_sixteen_bits(tmp_path):
    path = tmp_path / 'photo.png'
    cv2.imwrite(str(path), picture(100, 100, dtype=np.uint16))
    path.write_bytes(path.read_bytes()[:-500])
    assert 'damaged' in refused(path)


def test_size_is_judged_before_pixels_are_decoded(tmp_path):
    """A head that promises 200 megapixels, without any pixels behind it."""
    file = io.BytesIO()
    Image.new('L', (1, 1)).save(file, 'PNG')
    head = bytearray(file.getvalue())
    head[16:24] = (20000).to_bytes(4, 'big') + (10000).to_bytes(4, 'big')
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4, 'big')
    (tmp_path / 'photo.png').write_bytes(head)
    message = refused(tmp_path / 'photo.png')
    assert '20000 x 10000 pixels, 200 megapixels' in message
    assert '--max-megapixels 200' in message
    assert 'damaged' in refused(tmp_path / 'photo.png', max_megapixels=200)


def test_transparency_does_not_fit_a_jpeg(tmp_path):
    Image.fromarray(picture(channels=4)).save(tmp_path / 'photo.png')
    with pytest.raises(UserError, match=r'photo\.png has transparency, which JPEG does not hold'):
        write_format(read_photo(tmp_path / 'photo.png'), tmp_path / 'photo.png', 'JPEG')
