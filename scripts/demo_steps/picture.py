"""The picture of the demo: every photograph held aside, blurred, restored and sharp, with its kernels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CROP = 176
"""Side of the square shown of each photograph, in pixels."""

KERNEL_CROP = 25
"""Side of the square shown of each kernel, in pixels: both kernels at one scale."""

INK = '#222222'
GREY = '#777777'


class Panel(NamedTuple):
    """One row of the picture.

    Attributes:
        name: Name of the photograph.
        images: Caption to (H, W, 3) uint8 image.
        kernels: Caption to (k, k) kernel, any scale, centred.
        notes: One line below each image and each kernel; may be empty.
    """

    name: str
    images: dict[str, np.ndarray]
    kernels: dict[str, np.ndarray]
    notes: list[str]


def read(path: Path) -> np.ndarray:
    """Read a picture file as (H, W, 3) RGB uint8."""
    return cv2.imread(str(path))[..., ::-1]


def crop(image: np.ndarray, centre: tuple[float, float], side: int = CROP) -> np.ndarray:
    """Cut a square out of an image.

    Args:
        image: (H, W, C).
        centre: Centre (y, x) of the square as fractions of height and width; moved inside where it would reach beyond
            the border.
        side: Side of the square; a shorter side of the image is taken whole.
    """
    window = []
    for length, fraction in zip(image.shape, centre, strict=False):
        start = min(max(round(length * fraction) - side // 2, 0), max(length - side, 0))
        window.append(slice(start, start + side))
    return image[tuple(window)]


def centre_crop(kernel: np.ndarray, side: int) -> np.ndarray:
    """Cut or zero-pad an odd-sided kernel to `side`, keeping its centre."""
    missing = max(side - min(kernel.shape), 0)
    before = (missing + 1) // 2
    kernel = np.pad(kernel, before)
    top, left = (length // 2 - side // 2 for length in kernel.shape)
    return kernel[top : top + side, left : left + side]


def save(panels: list[Panel], path: Path, title: str) -> None:
    """Draw the panels, one row each, and write a PNG.

    Args:
        panels: At least one.
        path: File to write.
        title: Line above the picture.
    """
    first = panels[0]
    captions = [*first.images, *first.kernels]
    with mpl.rc_context({'font.family': 'DejaVu Sans', 'font.size': 9, 'text.color': INK}):
        figure = Figure(figsize=(2.2 * len(captions), 2.43 * len(panels) + 0.65), layout='constrained')
        figure.suptitle(title, x=0.012, ha='left', fontsize=11)
        axes = figure.subplots(len(panels), len(captions), squeeze=False)
        for row, panel in zip(axes, panels, strict=True):
            draw_row(row, panel)
        for axis, caption in zip(axes[0], captions, strict=True):
            axis.set_title(caption, fontsize=10, weight='bold')
        figure.savefig(path, dpi=150)


def draw_row(axes: np.ndarray, panel: Panel) -> None:
    """Fill one row of axes."""
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel(panel.name, fontsize=10, color=INK)
    for axis, note in zip(axes, panel.notes, strict=True):
        axis.set_xlabel(note, fontsize=9, color=GREY)
    images, kernels = axes[: len(panel.images)], axes[len(panel.images) :]
    for axis, image in zip(images, panel.images.values(), strict=True):
        axis.imshow(image, interpolation='nearest')
    for axis, kernel in zip(kernels, panel.kernels.values(), strict=True):
        draw_kernel(axis, kernel)


def draw_kernel(axis: Axes, kernel: np.ndarray) -> None:
    """Show a kernel, brightest value white."""
    axis.imshow(centre_crop(kernel, KERNEL_CROP), cmap='gray', vmin=0, interpolation='nearest')
