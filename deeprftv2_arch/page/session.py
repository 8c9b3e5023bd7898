"""What happens to the photograph of one open page; nothing here knows what the page looks like."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from deeprftv2_arch.restoration.metadata import ORIENTATION
from deeprftv2_arch.restoration.photo_file import Photo, encode_photo, read_photo
from deeprftv2_arch.restoration.photo_formats import FORMATS
from deeprftv2_arch.restoration.restorer import Restored, Restorer, array_to_tensor, tensor_to_array
from deeprftv2_arch.restoration.tiling import Progress
from deeprftv2_arch.utils.errors import UserError

LARGEST_VIEW = 3000
"""Longest side of the pictures that the browser shows, in pixels; what is downloaded has all of them."""

QUALITY = 95
"""Of the downloaded file, if it is JPEG or WebP, and of the pictures that are shown."""


class StoppedError(Exception):
    """The photograph is not wanted any more."""


@dataclass(frozen=True)
class View:
    """What the page shows.

    Attributes:
        before, after: Pictures for the browser.
        download: The restored photograph.
        line: What is to be said about it.
    """

    before: Path
    after: Path
    download: Path
    line: str


class Session:
    """One open page: its photograph, what became of it, and its files.

    Args:
        folder: For its files alone; made here, removed by `close`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stopped = False
        self._photo: Photo | None = None
        self._name = ''
        self._restored: Restored | None = None
        self._restorer: Restorer | None = None
        self._line = ''

    @property
    def is_empty(self) -> bool:
        """Whether there is no photograph."""
        return self._photo is None

    def take(self, upload: Path, max_megapixels: float) -> None:
        """Read a photograph that was dropped, in the place of the one before, and remove its file.

        Raises:
            UserError: As `read_photo`; the photograph before is gone nevertheless.
        """
        self.clear()
        try:
            self._photo, self._name = read_photo(upload, max_megapixels), upload.name
        except UserError as error:
            raise UserError(str(error).replace(str(upload), upload.name)) from error
        finally:
            upload.unlink(missing_ok=True)

    def restore(self, restorer: Restorer, progress: Progress) -> None:
        """Restore the photograph, if there is one.

        Raises:
            UserError: As `Restorer.run`.
            StoppedError: `stopped` was set meanwhile.
        """
        if self._photo is None:
            return
        self._restored = None
        self.stopped = False
        start = time.monotonic()

        def watched(done: int, total: int) -> None:
            if self.stopped:
                raise StoppedError
            progress(done, total)

        restored = restorer.run(array_to_tensor(self._photo.pixels), progress=watched)
        height, width = restored.image.shape[-2:]
        self._restored, self._restorer = restored, restorer
        self._line = f'{self._name}: {width} x {height} pixels, restored in {time.monotonic() - start:.1f} s.'
        if restored.suspect:
            self._line += f' Look at it: {restored.suspect}; the input was blended in there.'

    def view(self, strength: float) -> View | None:
        """Write the pictures to show and the file to download; None if nothing is restored.

        Args:
            strength: 0 for the photograph that was dropped, 1 for the restored one, or between.
        """
        if self._photo is None or self._restored is None or self._restorer is None:
            return None
        photo, pixels = self._photo, self._photo.pixels
        image = array_to_tensor(pixels)
        mixed = self._restorer.mix(image, self._restored.image, strength)
        # A new folder each time: the browser would take files of the same name from its cache.
        shutil.rmtree(self.folder, ignore_errors=True)
        folder = self.folder / f'{time.monotonic_ns():x}'
        folder.mkdir(parents=True)
        output = tensor_to_array(mixed, pixels.dtype, is_grey=pixels.ndim == 2)
        source = Path(self._name)
        download = folder / f'{source.stem}_restored{_suffix(source, photo.format)}'
        download.write_bytes(encode_photo(photo, output, photo.format, QUALITY, keep_metadata=True))
        return View(
            before=_write_picture(self._restorer.enlarged(image), photo, folder / 'before.jpg'),
            after=_write_picture(mixed, photo, folder / 'after.jpg'),
            download=download,
            line=self._line,
        )

    def clear(self) -> None:
        """Forget the photograph and remove its files."""
        self._photo = self._restored = self._restorer = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Stop, and forget everything."""
        self.stopped = True
        self.clear()


def _suffix(source: Path, file_format: str) -> str:
    """That of the photograph, unless it is written in another format, as HEIC is."""
    suffixes = FORMATS[file_format].suffixes
    return source.suffix if source.suffix.lower() in suffixes else suffixes[0]


def _write_picture(image: Tensor, photo: Photo, path: Path) -> Path:
    """Write (1, 3, H, W) as a JPEG file that a browser shows upright, in the right colours, and without delay."""
    picture = Image.fromarray(tensor_to_array(image, np.dtype(np.uint8), is_grey=photo.pixels.ndim == 2))
    orientation = photo.metadata.parsed_exif().get(ORIENTATION)
    if orientation is not None:
        picture.getexif()[ORIENTATION] = orientation
        picture = ImageOps.exif_transpose(picture)
    picture.thumbnail((LARGEST_VIEW, LARGEST_VIEW), Image.Resampling.LANCZOS)
    picture.save(path, quality=QUALITY, subsampling=0, icc_profile=photo.metadata.icc, exif=b'')
    return path
