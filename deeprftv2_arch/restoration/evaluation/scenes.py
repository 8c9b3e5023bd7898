"""Really blurred photographs whose scene was taken sharp as well: which they are, and how they are compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deeprftv2_arch.data.photograph_folder import read_photograph
from deeprftv2_arch.restoration.evaluation.alignment import Alignment, align
from deeprftv2_arch.restoration.evaluation.filters import to_float
from deeprftv2_arch.restoration.evaluation.pairs import images_in, partners
from deeprftv2_arch.utils.errors import UserError

LONG_SIDE = 800
"""Photographs of scenes are reduced to this before all else: what moves between two of them then stays below a pixel
where a homography does not follow it, and the blur of a shaken hand comes into the reach of small networks."""

LEAST_CORRELATION = 0.95
"""Below this an alignment has failed. Blur alone costs some hundredths, as the two photographs then differ."""

KWENTAR = re.compile(r'(?P<scene>.+)_(?P<kind>[MFS])')
"""Names of the Blur Dataset by Kwentar: motion, defocus, sharp."""


@dataclass(frozen=True)
class Scene:
    """A photograph that is really blurred, and a sharp one of the same scene.

    Attributes:
        name: What to call it.
        blurred, sharp: Their files.
    """

    name: str
    blurred: Path
    sharp: Path


@dataclass(frozen=True)
class AlignedScene:
    """A scene whose photographs were read, reduced and aligned.

    Attributes:
        name: As of the scene.
        blurred: uint8 (H, W, 3) RGB.
        sharp: uint8 (H', W', 3) RGB, where it was taken.
        alignment: The sharp photograph in the place of the blurred one.
    """

    name: str
    blurred: np.ndarray
    sharp: np.ndarray
    alignment: Alignment

    @property
    def fits(self) -> bool:
        """Whether the alignment is good enough for a comparison."""
        return self.alignment.correlation >= LEAST_CORRELATION and bool(self.alignment.mask.any())


def find_scenes(folder: Path) -> list[Scene]:
    """The scenes of a folder: `blur/` and `sharp/` with equal names, or `ID_DEVICE_S.jpg` beside `_M` and `_F`.

    Raises:
        UserError: There are none.
    """
    if (folder / 'blur').is_dir() and (folder / 'sharp').is_dir():
        return [Scene(name, blurred, sharp) for name, blurred, sharp in partners(folder)]
    scenes = []
    images = images_in(folder)
    sharp = {path.stem.removesuffix('_S'): path for path in images if path.stem.endswith('_S')}
    for path in images:
        named = KWENTAR.fullmatch(path.stem)
        if named and named['kind'] != 'S' and named['scene'] in sharp:
            scenes.append(Scene(path.stem, path, sharp[named['scene']]))
    if not scenes:
        raise UserError(
            f'{folder} has no pairs: neither folders blur and sharp with equal names, nor names that end in _M or _F '
            'beside a sharp one that ends in _S.'
        )
    return scenes


def open_scene(scene: Scene) -> AlignedScene:
    """Read the photographs of a scene, reduced to `LONG_SIDE`, and align them.

    Raises:
        UserError: One cannot be read.
    """
    blurred, sharp = (read_photograph(path, LONG_SIDE) for path in (scene.blurred, scene.sharp))
    if min(blurred.shape[:2]) < 64 or min(sharp.shape[:2]) < 64:
        raise UserError(f'{scene.blurred}, {scene.sharp}: photographs of less than 64 pixels cannot be aligned.')
    return AlignedScene(scene.name, blurred, sharp, align(to_float(sharp), to_float(blurred)))
