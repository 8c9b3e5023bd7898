"""The sizes of images, read from their headers, and those too small for what is to be cut from them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from PIL import Image

from deeprftv2_arch.data.image_file import PNG_SIGNATURE

_PNG_HEADER = 24
"""Bytes of a PNG file up to its height; width and height are the last eight of them."""

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag that says how a photograph is to be turned, and its values that swap width and height."""

_Item = TypeVar('_Item')


def size_in_header(path: str | Path) -> tuple[int, int] | None:
    """Read height and width of an image file, as it is shown, without decoding it; None if that is not possible."""
    try:
        with open(path, 'rb') as file:
            start = file.read(_PNG_HEADER)
        if start.startswith(PNG_SIGNATURE) and len(start) == _PNG_HEADER:
            return int.from_bytes(start[20:24], 'big'), int.from_bytes(start[16:20], 'big')
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                width, height = image.size
                is_turned = image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # a damaged file has its own message when it is read; here a header may raise all there is
        return None
    return (width, height) if is_turned else (height, width)


def first_too_small(
    items: Iterable[_Item],
    needed: tuple[int, int],
    *,
    header: Callable[[_Item], tuple[int, int] | None],
    exact: Callable[[_Item], tuple[int, int] | None],
) -> tuple[_Item, tuple[int, int]] | None:
    """Find the first image that has not the height and width that are needed.

    Args:
        items: What stands for the images.
        needed: Height and width.
        header: The size of an image at little cost; None where it is not known.
        exact: The size as it will be read, asked for where the header says that the image is too small.

    Returns:
        The image and its height and width; None if all are large enough, as far as is known.
    """
    for item in items:
        size = header(item)
        if size is not None and _is_less(size, needed):
            size = exact(item)
            if size is not None and _is_less(size, needed):
                return item, size
    return None


def _is_less(size: tuple[int, int], needed: tuple[int, int]) -> bool:
    return size[0] < needed[0] or size[1] < needed[1]
