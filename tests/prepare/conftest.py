"""What the tests of preparation share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from prepare.miniatures import shrink_known_sets

from deeprftv2_arch.cli.prepare import main


@pytest.fixture
def small_sets(monkeypatch):
    """The program takes the miniatures for complete sets."""
    shrink_known_sets(monkeypatch)


@pytest.fixture
def prepare(tmp_path) -> Callable[..., Path]:
    """Prepare a set into a folder of the test, with one process unless told otherwise."""

    def run(name: str, source: Path, *options: str, out: str = 'out') -> Path:
        workers = () if '--workers' in options else ('--workers', '1')
        main([name, '--source', str(source), '--out', str(tmp_path / out), *workers, *options])
        return tmp_path / out

    return run


@pytest.fixture
def contents() -> Callable[[Path], dict[str, tuple[str, int]]]:
    """The files below a folder: checksum and time by path."""

    def read(root: Path) -> dict[str, tuple[str, int]]:
        return {
            path.relative_to(root).as_posix(): (
                hashlib.sha256(path.read_bytes()).hexdigest(),
                path.stat().st_mtime_ns,
            )
            for path in sorted(root.rglob('*'))
            if path.is_file()
        }

    return read
