"""Fixtures shared by the tests of the data sets, the model and whole trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

import deeprftv2_arch  # noqa: F401  # mends the toolbox, which must come before any import of it

# isort: split
from basicsr.utils.lmdb_util import make_lmdb_from_imgs


class PairFolders(NamedTuple):
    """Two folders of images with the same stems."""

    lq: Path
    gt: Path


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., PairFolders]:
    """Write blurred and sharp pictures, ``000``, ``001``, ..., below the test's own folder."""

    def write(
        name: str = 'set',
        *,
        count: int = 4,
        height: int = 40,
        width: int = 48,
        suffixes: tuple[str, str] = ('.png',) * 2,
    ) -> PairFolders:
        folders = PairFolders(lq=tmp_path / name / 'blur', gt=tmp_path / name / 'sharp')
        rng = np.random.default_rng(0)
        for folder in folders:
            folder.mkdir(parents=True)
        for index in range(count):
            sharp = cv2.resize(rng.integers(0, 256, (height // 4, width // 4, 3), np.uint8), (width, height))
            cv2.imwrite(str(folders.lq / f'{index:03}{suffixes[0]}'), cv2.blur(sharp, (1, 5)))
            cv2.imwrite(str(folders.gt / f'{index:03}{suffixes[1]}'), sharp)
        return folders

    return write


@pytest.fixture
def as_lmdb() -> Callable[[Path], Path]:
    """Pack a folder of images as BasicSR does, beside the folder."""

    def pack(folder: Path) -> Path:
        database = folder.with_suffix('.lmdb')
        files = sorted(path.name for path in folder.iterdir())
        make_lmdb_from_imgs(str(folder), str(database), files, [Path(file).stem for file in files])
        return database

    return pack
