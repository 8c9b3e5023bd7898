"""Low-resolution images as super-resolution benchmarks have them: MATLAB's bicubic ``imresize`` of 8-bit images.

BasicSR has this function for floating point images. Of 8-bit images, which the benchmarks were made of, MATLAB
rounds and clips the result of the first direction too, so that every seventh value differs by one level and values
beside strong edges by several. With that, and with border pixels repeated, the low-resolution images of Set5 that are
distributed with SelfExSR come out of its high-resolution ones to the last bit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import decode_image, read_image_file
from deeprftv2_arch.prepare.image_io import png_header


def read_rgb(path: Path) -> np.ndarray:
    """Read an image of eight bits without transparency; gray ones get three equal channels.

    Returns:
        uint8 (H, W, 3) in BGR order.

    Raises:
        DataError: If the image cannot be read or is of another kind.
    """
    header = png_header(path)
    if header and header.has_alpha:
        raise DataError(f'{path}: has an alpha channel, expected an opaque image. Take the original image.')
    image = decode_image(read_image_file(path), str(path))
    if image.dtype != np.uint8:
        raise DataError(f'{path}: pixels of type {image.dtype}, expected 8 bits. Take the original image.')
    return image


def crop_to_multiple(image: np.ndarray, of: int) -> np.ndarray:
    """Cut off rows at the bottom and columns at the right until both numbers are multiples of ``of``."""
    height, width = image.shape[:2]
    return image[: height - height % of, : width - width % of]


def downsample(image: np.ndarray, scale: int) -> np.ndarray:
    """Reduce an image as MATLAB's ``imresize(image, 1 / scale)`` does: rows first, then columns, each to 8 bits.

    Args:
        image: uint8 (H, W, 3), H and W multiples of ``scale``.
        scale: How many times smaller the result is.

    Returns:
        uint8 (H / scale, W / scale, 3).
    """
    height, width, channels = image.shape
    rows = _to_8_bit(_weights(height, scale) @ image.reshape(height, -1).astype(np.float64))
    columns = rows.reshape(-1, width, channels).transpose(1, 0, 2).reshape(width, -1)
    small = _to_8_bit(_weights(width, scale) @ columns.astype(np.float64))
    return np.ascontiguousarray(small.reshape(width // scale, -1, channels).transpose(1, 0, 2))


def _weights(length: int, scale: int) -> sparse.csr_matrix:
    """Return the matrix (length / scale, length) of one axis: Keys' cubic kernel (a = -1/2), widened by ``scale``."""
    centre = (np.arange(length // scale) + 0.5) * scale - 0.5
    taps = np.floor(centre - 2 * scale)[:, None] + np.arange(4 * scale + 2)
    x = np.abs(centre[:, None] - taps) / scale
    inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    kernel = np.where(x <= 1, inner, np.where(x <= 2, outer, 0))
    kernel /= kernel.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(length // scale)[:, None], taps.shape)
    columns = np.clip(taps, 0, length - 1).astype(np.int64)
    # Entries for the same place, which the border has, are summed up.
    return sparse.csr_matrix((kernel.ravel(), (rows.ravel(), columns.ravel())), shape=(length // scale, length))


def _to_8_bit(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
