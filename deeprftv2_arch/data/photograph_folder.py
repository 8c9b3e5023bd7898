"""A folder of photographs, decoded when they are first needed and kept as far as memory was granted."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import FULL_SCALE, IMAGE_SUFFIXES, decode_image
from deeprftv2_arch.data.image_size import first_too_small, size_in_header
from deeprftv2_arch.utils.errors import UserError


class PhotographFolder:
    """The photographs of a folder and its sub-folders, sorted by path.

    Args:
        root: The folder.
        option: Key of the option file that names it, for messages.
        long_side: Larger photographs are reduced to this many pixels: it makes their pixels sharp.
        cache_bytes: How much memory decoded photographs may take in each process. Those that come first are kept for
            good, the others are decoded each time: with random access nothing does better than keeping some.

    Raises:
        UserError: If there is no such folder, or no image in it.
    """

    def __init__(self, root: str, option: str, *, long_side: int, cache_bytes: int) -> None:
        if not os.path.isdir(root):
            raise UserError(f'{option}: there is no folder {root!r}. Correct the path in the option file.')
        self.root, self.long_side, self.cache_bytes = root, long_side, cache_bytes
        self.paths = sorted(path for path in Path(root).rglob('*') if _is_image(path))
        if not self.paths:
            suffixes = ', '.join(sorted(IMAGE_SUFFIXES))
            raise UserError(f'{option}: {root} and its sub-folders hold no images ({suffixes}).')
        self._kept: dict[int, np.ndarray] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> list[str]:
        """Paths below the root, with forward slashes, in order."""
        return [path.relative_to(self.root).as_posix() for path in self.paths]

    def first_too_small(self, needed: tuple[int, int]) -> tuple[int, tuple[int, int]] | None:
        """Find the first photograph that has not this height and width when it is reduced, by the headers of files.

        Returns:
            Its number, height and width.
        """

        def header(index: int) -> tuple[int, int] | None:
            size = size_in_header(self.paths[index])
            return None if size is None else _reduced(size, self.long_side)

        def exact(index: int) -> tuple[int, int]:
            height, width = read_photograph(self.paths[index], self.long_side).shape[:2]
            return height, width

        return first_too_small(range(len(self)), needed, header=header, exact=exact)

    def read(self, index: int) -> np.ndarray:
        """Read a photograph as (H, W, 3) RGB uint8, reduced to ``long_side``.

        Raises:
            DataError: If the file cannot be read.
        """
        if index in self._kept:
            return self._kept[index]
        image = read_photograph(self.paths[index], self.long_side)
        if self._kept_bytes + image.nbytes <= self.cache_bytes:
            self._kept[index] = image
            self._kept_bytes += image.nbytes
        return image


def _reduced(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Height and width that a photograph of a size is reduced to."""
    factor = min(long_side / max(size), 1)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def read_photograph(path: Path, long_side: int) -> np.ndarray:
    """Read an image file as (H, W, 3) RGB uint8, reduced to at most ``long_side`` pixels.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f'{path}: cannot read the file: {error}.') from error
    image = decode_image(data, str(path))
    if image.dtype != np.uint8:
        image = np.rint(image * (255 / FULL_SCALE[image.dtype])).astype(np.uint8)
    height, width = _reduced(image.shape[:2], long_side)
    if (height, width) != image.shape[:2]:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.') and path.is_file()
