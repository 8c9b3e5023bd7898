"""Facts about a metric that the evaluation asks for, and the images that it is handed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

Metric = TypeVar('Metric', bound=Callable[..., float])


class MetricWarning(UserWarning):
    """A metric was measured in another way than its protocol asks for; a test counts and names the images."""


def metric_info(*, better: str = 'higher', unquantized: bool = False) -> Callable[[Metric], Metric]:
    """Decorate a registered metric with facts about it, as attributes of these names.

    Args:
        better: ``'higher'`` or ``'lower'``: which of two values is the better one.
        unquantized: Whether the metric is to see the floating point output of the network, as float32 in [0, 1], and
            not the 8 bits of an image file.
    """

    def mark(metric: Metric) -> Metric:
        vars(metric).update(better=better, unquantized=unquantized)
        return metric

    return mark


def as_rgb(img: np.ndarray, img2: np.ndarray, crop_border: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bring two images from BasicSR's form into that of our functions.

    >>> black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    >>> [image.max().item() for image in as_rgb(black, white)]
    [0.0, 1.0]

    Args:
        img: Restored image, (H, W, 3) in BGR order or (H, W): uint8 in [0, 255] or floating point in [0, 1].
        img2: Sharp image of the same shape.
        crop_border: Pixels to leave out at every edge.

    Returns:
        Both as float64 (H', W', 3) in RGB order, or (H', W', 1), in [0, 1].

    Raises:
        ValueError: If the shapes differ or nothing would be left.
    """
    require_equal_shapes(img, img2)
    if not 0 <= 2 * crop_border < min(img.shape[:2]):
        raise ValueError(f'crop_border: {crop_border} leaves nothing of {img.shape[1]} x {img.shape[0]} pixels')
    inner = slice(crop_border, -crop_border or None)
    return _to_float(img)[inner, inner, ::-1], _to_float(img2)[inner, inner, ::-1]


def _to_float(image: np.ndarray) -> np.ndarray:
    image = np.atleast_3d(image)
    if image.dtype == np.uint8:
        return image / 255.0
    return image.astype(np.float64)


def require_equal_shapes(restored: np.ndarray, sharp: np.ndarray) -> None:
    """Raise ValueError if two images differ in shape."""
    if restored.shape != sharp.shape:
        raise ValueError(f'the images must have the same shape, got {restored.shape} and {sharp.shape}')


def require_size(image: np.ndarray, least: int) -> None:
    """Raise ValueError if an image is smaller than a metric's window."""
    height, width = image.shape[:2]
    if min(height, width) < least:
        raise ValueError(f'{width} x {height} pixels are less than {least} x {least}')
