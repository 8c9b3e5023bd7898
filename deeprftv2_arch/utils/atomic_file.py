"""Write a file so that it is there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from deeprftv2_arch.utils.errors import UserError


def write_atomically(path: Path, content: bytes | str) -> Path:
    """Write a file under another name beside its own and rename it, making the folders on the way.

    What was there before stays until the new file is done. Checkpoints, which must also outlast a power failure, are
    written by `deeprftv2_arch.checkpoints.io.save_checkpoint`.

    Args:
        path: The file.
        content: All of it; text is encoded as UTF-8.

    Returns:
        The path.

    Raises:
        UserError: The file cannot be written.
    """
    part = path.with_name(f'{path.name}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise cannot_write(path, error.strerror) from error
    return path


def cannot_write(path: Path, cause: str | None) -> UserError:
    """Make the error for a file that could not be written, with the cause in the words of the system."""
    return UserError(f'Cannot write {path}: {cause}. Make room, or correct the folder or its rights.')
