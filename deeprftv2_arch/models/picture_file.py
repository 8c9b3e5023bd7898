"""Writing a picture so that it is there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from deeprftv2_arch.errors import UserError


def write_picture(image: np.ndarray, path: Path) -> None:
    """Write a PNG beside its place and move it there, making the folders on the way.

    Args:
        image: uint8 (H, W, 3) in BGR order, or (H, W).
        path: Where it belongs; ends in ``.png``.

    Raises:
        UserError: If the file cannot be written.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(cv2.imencode('.png', image)[1])
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise UserError(
            f'Cannot write {path}: {error.strerror}. Make room, or correct the rights of the folder.'
        ) from error
