"""Folders that a prepared set has, and how many pairs of which sizes belong in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from deeprftv2_arch.config.known_sets import KNOWN_SETS, SR_BENCHMARK
from deeprftv2_arch.prepare.deblurring import SETS
from deeprftv2_arch.prepare.sub_images import SIZE as SUB_IMAGE
from deeprftv2_arch.utils.errors import UserError

SCALES = (2, 3, 4)
"""Scales of super-resolution."""


class PairedFolders(NamedTuple):
    """Two folders whose images belong together by name.

    Attributes:
        lq: Path of the blurred or low-resolution images below the root; may be an LMDB of that name and ``.lmdb``.
        gt: Path of the sharp or high-resolution images, likewise.
        scale: Pixels of the gt image for one of the lq image, along each side.
        pairs: How many there should be, or None if that is not known.
        size: Height and width that all gt images have, or None.
        whole: Whether they are whole images, whose order can be judged by their looks.
    """

    lq: str
    gt: str
    scale: int = 1
    pairs: int | None = None
    size: tuple[int, int] | None = None
    whole: bool = True


def parts_of(name: str) -> tuple[str, ...]:
    """List the parts of a set that can be asked for one by one: train, val, test; or the sets of the benchmark."""
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
    folders: list[PairedFolders] = []
    if name == 'srbench':
        for part in parts:
            top = KNOWN_SETS[part].folder.rpartition('/')[2]
            folders += _benchmark_folders(part, root, f'{top}/')
    elif name in SR_BENCHMARK:
        folders += _benchmark_folders(name, root, '')
    elif name in SETS:
        for part in parts:
            folders += _deblurring_folders(name, root, part)
    else:
        folders += _sub_image_folders(name, root)
    return folders


def exists(root: Path, folder: str) -> bool:
    """Whether a folder is there, as such or as an LMDB."""
    return (root / folder).is_dir() or (root / f'{folder}.lmdb').is_dir()


def _deblurring_folders(name: str, root: Path, part: str) -> list[PairedFolders]:
    known = KNOWN_SETS[name]
    found = [PairedFolders(f'{part}/blur', f'{part}/sharp', pairs=known.images[part], size=known.size)]
    blur, sharp = f'{part}/blur_crops', f'{part}/sharp_crops'
    if exists(root, blur) or exists(root, sharp):
        crops = SETS[name].crops
        if crops is None:
            found.append(PairedFolders(blur, sharp, whole=False))
        else:
            size = (crops.size, crops.size)
            found.append(PairedFolders(blur, sharp, pairs=known.train_crops, size=size, whole=False))
    return found


def _benchmark_folders(name: str, root: Path, top: str) -> list[PairedFolders]:
    images = KNOWN_SETS[name].images['test']
    scales = _prepared_scales(root, f'{top}LR/x{{}}')
    return [PairedFolders(f'{top}LR/x{scale}', f'{top}HR/x{scale}', scale, images) for scale in scales]


def _sub_image_folders(name: str, root: Path) -> list[PairedFolders]:
    found = []
    for scale in _prepared_scales(root, 'train/LRx{}_sub'):
        folders = PairedFolders(
            f'train/LRx{scale}_sub',
            'train/HR_sub',
            scale,
            pairs=KNOWN_SETS[name].train_crops,
            size=(SUB_IMAGE, SUB_IMAGE),
            whole=False,
        )
        found.append(folders)
    return found


def _prepared_scales(root: Path, folder: str) -> Sequence[int]:
    """List the scales that a folder is there for, or all scales if it is there for none."""
    return [scale for scale in SCALES if exists(root, folder.format(scale))] or SCALES
