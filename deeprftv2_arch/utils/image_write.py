"""Write an image file so that it is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deeprftv2_arch.utils.atomic_file import write_atomically


def write_image(image: np.ndarray, path: Path) -> None:
    """Write a PNG file, making the folders on the way.

    Args:
        image: uint8 or uint16 (H, W, 3) in BGR order, or (H, W).
        path: The file; ends in ``.png``.

    Raises:
        UserError: The file cannot be written.
    """
    write_atomically(path, cv2.imencode('.png', image)[1].tobytes())
