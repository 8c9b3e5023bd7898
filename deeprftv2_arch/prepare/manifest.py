"""``manifest.json``: what a prepared folder holds and what it was made of."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprftv2_arch.prepare.plan import OutputFile
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError

FILE = 'manifest.json'
FORMAT = 1
"""Raised when the layout of a prepared folder or the meaning of an entry changes."""


def read_manifest(root: Path) -> dict[str, Any] | None:
    """Read the manifest of a prepared folder.

    Returns:
        Its content, or None if there is none.

    Raises:
        UserError: If it cannot be read or is of another format.
    """
    path = root / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        version = content['format']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: not a manifest of this program ({error!r}). Remove it and prepare again.') from error
    if version != FORMAT:
        raise UserError(
            f'{path}: has format {version}, this version of deeprftv2_arch writes {FORMAT}. Prepare again into another '
            'folder.'
        )
    return content


def write_manifest(root: Path, content: Mapping[str, Any]) -> None:
    """Write the manifest, whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    write_atomically(root / FILE, json.dumps(content, indent=1) + '\n')


def describe_folder(root: Path, files: Sequence[OutputFile]) -> dict[str, Any]:
    """Describe a folder for the manifest: number, sizes and depth of its images, and the checksum of their list."""
    sizes = Counter(f'{entry.width}x{entry.height}' for entry in files)
    return {
        'images': len(files),
        'bytes': sum((root / entry.file).stat().st_size for entry in files),
        'bit_depth': max(entry.bit_depth for entry in files),
        'sizes': dict(sorted(sizes.items())),
        'list_sha256': list_checksum(Path(entry.file).name for entry in files),
    }


def list_checksum(names: Iterable[str]) -> str:
    """Return the SHA-256 of the sorted file names, each followed by a line feed: of ``ls | LC_ALL=C sort``."""
    lines = [f'{name}\n' for name in sorted(names)]
    return hashlib.sha256(''.join(lines).encode()).hexdigest()
