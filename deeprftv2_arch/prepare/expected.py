"""Which folders a prepared set has, and how many pairs of which sizes belong in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deeprftv2_arch.config.known_sets import KNOWN_SETS, SR_BENCHMARK
from deeprftv2_arch.prepare.deblurring import SETS
from deeprftv2_arch.utils.errors import UserError

SCALES = (2, 3, 4)
"""Of super-resolution."""


class PairedFolders(NamedTuple):
    """Two folders whose images belong together by name.

    Attributes:
        degraded, good: Paths below the root of the set; each may be an LMDB of that name and ``.lmdb`` instead.
        scale: Pixels of the good image for one of the degraded one, along each side.
        pairs: How many there should be, or None if that is not known.
        size: Height and width that all good images have, or None.
        whole: Whether they are whole images, whose order can be judged by their looks.
    """

    degraded: str
    good: str
    scale: int = 1
    pairs: int | None = None
    size: tuple[int, int] | None = None
    whole: bool = True


def parts_of(name: str) -> tuple[str, ...]:
    """The parts of a set that can be asked for one by one: train, val, test; or the sets of the benchmark."""
    return SR_BENCHMARK if name == 'srbench' else tuple(KNOWN_SETS[name].images)


def expected_folders(name: str, root: Path, parts: Sequence[str]) -> list[PairedFolders]:
    """List the folders of a set.

    Args:
        name: A key of ``KNOWN_SETS``, or ``srbench`` for the whole benchmark.
        root: Where the set lies; folders of crops, and of single scales, are listed if they are there.
        parts: Some of :func:`parts_of`.

    Raises:
        UserError: If there is no such part.
    """
    for part in parts:
        if part not in parts_of(name):
            raise UserError(f'--parts {part}: {name} has {", ".join(parts_of(name))}.')
    if name == 'srbench':
        folders = [KNOWN_SETS[part].folder.rpartition('/')[2] + '/' for part in parts]
        return [f for part, top in zip(parts, folders, strict=True) for f in _benchmark_folders(part, root, top)]
    if name in SR_BENCHMARK:
        return _benchmark_folders(name, root, '')
    if name in SETS:
        return [folders for part in parts for folders in _deblurring_folders(name, root, part)]
    return _sub_image_folders(name, root)


def exists(root: Path, folder: str) -> bool:
    """Whether a folder is there, as such or as an LMDB."""
    return (root / folder).is_dir() or (root / f'{folder}.lmdb').is_dir()


def _deblurring_folders(name: str, root: Path, part: str) -> list[PairedFolders]:
    known = KNOWN_SETS[name]
    found = [PairedFolders(f'{part}/blur', f'{part}/sharp', 1, known.images[part], known.size)]
    if exists(root, f'{part}/blur_crops') or exists(root, f'{part}/sharp_crops'):
        cut = SETS[name].crops
        crops, size = (known.train_crops, (cut.size, cut.size)) if cut else (None, None)
        found.append(PairedFolders(f'{part}/blur_crops', f'{part}/sharp_crops', 1, crops, size, whole=False))
    return found


def _benchmark_folders(name: str, root: Path, top: str) -> list[PairedFolders]:
    scales = [scale for scale in SCALES if exists(root, f'{top}LR/x{scale}')] or SCALES
    images = KNOWN_SETS[name].images['test']
    return [PairedFolders(f'{top}LR/x{scale}', f'{top}HR/x{scale}', scale, images) for scale in scales]


def _sub_image_folders(name: str, root: Path) -> list[PairedFolders]:
    scales = [scale for scale in SCALES if exists(root, f'train/LRx{scale}_sub')] or SCALES
    crops = KNOWN_SETS[name].train_crops
    return [
        PairedFolders(f'train/LRx{scale}_sub', 'train/HR_sub', scale, crops, (480, 480), whole=False)
        for scale in scales
    ]
