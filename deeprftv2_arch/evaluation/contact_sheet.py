"""Contact sheets: input, restored image and ground truth side by side, for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

FOLDER = 'pictures'
"""Folder of an experiment for the pictures of its last validation, one sub-folder for each data set."""

GAP = 8
"""White columns between two images."""


def side_by_side(images: Sequence[np.ndarray], side: int = 384) -> np.ndarray:
    """Put the middle of each image beside the others.

    Args:
        images: Arrays (H, W, 3), or (H, W) of one channel, uint8. Smaller ones, as the input of super-resolution, are
            enlarged to the size of the last one by repeating pixels.
        side: Largest height and width of each in the result, in pixels.

    Returns:
        (h, w, 3) uint8, in the order given.
    """
    height, width = images[-1].shape[:2]
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    gap = np.full((min(side, height), GAP, 3), 255, np.uint8)
    columns: list[np.ndarray] = []
    for image in images:
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        if image.shape[:2] != (height, width):
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST)
        if columns:
            columns.append(gap)
        columns.append(image[top : top + side, left : left + side])
    return np.hstack(columns)


def add_pictures(tb_logger: Any, folder: Path, dataset: str, iteration: int) -> None:
    """Hand the PNG files below a folder to TensorBoard.

    Args:
        tb_logger: A ``SummaryWriter``.
        folder: Where the pictures of the data set are; it need not exist.
        dataset: Name of the data set, the first part of the tags.
        iteration: The step that they belong to.
    """
    for path in sorted(folder.rglob('*.png')):
        sheet = cv2.imread(str(path))
        if sheet is not None:  # else it was removed meanwhile
            tb_logger.add_image(f'{dataset}/{path.stem}', sheet[..., ::-1], iteration, dataformats='HWC')
