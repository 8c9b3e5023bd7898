"""What a photograph says about itself: colour profile, Exif, XMP, IPTC, comments and resolution."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import ExifTags, Image, TiffImagePlugin

ORIENTATION = ExifTags.Base.Orientation
DESCRIPTIVE_TAGS = frozenset(
    {
        ExifTags.Base.ImageDescription,
        ExifTags.Base.Make,
        ExifTags.Base.Model,
        ExifTags.Base.Orientation,
        ExifTags.Base.Software,
        ExifTags.Base.DateTime,
        ExifTags.Base.Artist,
        ExifTags.Base.HostComputer,
        ExifTags.Base.Copyright,
        ExifTags.Base.Rating,
    }
)
"""The tags of a TIFF file that describe the photograph; others say how its pixels lie in the file."""

DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)

_EXIF_START = b'Exif\x00\x00'
_JPEG_APP13 = b'\xff\xed'
_JPEG_APP13_START = b'Photoshop 3.0\x00'
_TIFF_PHOTOSHOP, _TIFF_IPTC, _TIFF_XMP = 34377, 33723, 700


@dataclass(frozen=True)
class Metadata:
    """Metadata of a photograph.

    Attributes:
        icc: Colour profile.
        exif: Exif with its beginning `Exif\\0\\0`; `b''` for none.
        xmp: XMP packet; `b''` for none.
        photoshop: Photoshop's resources, which hold IPTC captions; `b''` for none.
        comment: Comment of a JPEG file.
        text: Texts of a PNG file by keyword.
        dpi: Resolution in pixels per inch.
    """

    icc: bytes | None = None
    exif: bytes = b''
    xmp: bytes = b''
    photoshop: bytes = b''
    comment: bytes = b''
    text: dict[str, str] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None

    def parsed_exif(self) -> Image.Exif:
        """The Exif to be looked at and changed."""
        exif = Image.Exif()
        if self.exif:
            exif.load(self.exif)
        return exif

    def orientation_only(self) -> bytes:
        """Exif with nothing but the orientation, without which the photograph would lie on its side."""
        orientation = self.parsed_exif().get(ORIENTATION)
        if orientation is None:
            return b''
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        return exif.tobytes()

    def resized(self, width: int, height: int) -> bytes:
        """Exif for pixels of another number."""
        if not self.exif:
            return b''
        exif = self.parsed_exif()
        directory = exif.get_ifd(ExifTags.IFD.Exif)
        for tag, value in ((ExifTags.Base.ExifImageWidth, width), (ExifTags.Base.ExifImageHeight, height)):
            if tag in directory:
                directory[tag] = value
        return exif.tobytes()


def read_metadata(image: Image.Image) -> Metadata:
    """The metadata of an opened image, whose pixels have been decoded: a TIFF file is then upright, and told so."""
    info = image.info
    xmp = info.get('xmp') or info.get('XML:com.adobe.xmp') or b''
    texts = {key: str(value) for key, value in getattr(image, 'text', {}).items() if key not in ('XML:com.adobe.xmp',)}
    photoshop = b''
    exif = info.get('exif') or b''
    if exif and not exif.startswith(_EXIF_START):
        exif = _EXIF_START + exif  # as WebP stores it
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        exif = _tiff_exif(image)
        xmp = xmp or _as_bytes(image.tag_v2.get(_TIFF_XMP))
        photoshop = _as_bytes(image.tag_v2.get(_TIFF_PHOTOSHOP))
    for marker, data in getattr(image, 'applist', []):
        if marker == 'APP13' and data.startswith(_JPEG_APP13_START):
            photoshop = data.removeprefix(_JPEG_APP13_START)
    comment = info.get('comment', b'')
    return Metadata(
        icc=info.get('icc_profile'),
        exif=exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        photoshop=photoshop,
        comment=comment if isinstance(comment, bytes) else b'',
        text=texts,
        dpi=_dpi(info.get('dpi')),
    )


def app13(photoshop: bytes) -> bytes:
    """Photoshop's resources as a segment of a JPEG file; nothing where they are too long for one."""
    data = _JPEG_APP13_START + photoshop
    if not photoshop or len(data) > 65533:
        return b''
    return _JPEG_APP13 + (len(data) + 2).to_bytes(2, 'big') + data


def _tiff_exif(image: Image.Image) -> bytes:
    source, exif = image.getexif(), Image.Exif()
    for tag in DESCRIPTIVE_TAGS & source.keys():
        exif[tag] = source[tag]
    for directory in DIRECTORIES:
        content = source.get_ifd(directory)
        if content:
            exif[directory] = content
    return exif.tobytes() if len(exif) else b''


def _as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b''


def _dpi(value: object) -> tuple[float, float] | None:
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    x, y = float(value[0]), float(value[1])
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None
