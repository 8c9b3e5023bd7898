"""Blurred and sharp pairs in BasicSR's LMDB format: `train/` has many small crops, `test/` a few whole photographs.

The data appear under their final name only when they are complete, so an interrupted run leaves nothing half-written.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from basicsr.utils import FileClient, imfrombytes
from basicsr.utils.lmdb_util import LmdbMaker

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.data.synthesis.camera import Camera, linear_to_srgb, to_uint8
from deeprftv2_arch.data.synthesis.kernels import centred, convolve, kernel_of_path, trim
from deeprftv2_arch.data.synthesis.trajectory import draw_path, draw_shake

from . import photographs
from .console import progress

SIDES = ('lq', 'gt')
"""What BasicSR calls the blurred ("low quality") and the sharp ("ground truth") side of a pair."""

PNG_COMPRESSION = 1
MAP_SIZE = 1 << 30
"""Upper bound of one LMDB in bytes; the file only grows as far as it is filled."""

CAMERA = Camera(highlight_gain=1, noise_gain=1 / 50_000, read_noise=5 / 50_000, jpeg_quality=None)
"""A well lit exposure: 50,000 electrons saturate a pixel, and reading it out adds the noise of 5."""


@dataclass(frozen=True)
class Recipe:
    """What decides the data: the same recipe gives the same files.

    Attributes:
        crops: Number of training pairs; each has its own photograph, place, size of the scene, and kernel.
        crop_size: Side of a training pair in pixels.
        extents: Smallest and largest extent of a blur kernel in pixels, for training and test alike.
        scales: Training photographs are also used reduced by these factors.
        test_size: Side of the central part of a test photograph that is used; None for the whole.
        seed: Training and test draw their kernels from two separate streams of this seed.
    """

    crops: int
    crop_size: int
    extents: tuple[float, float]
    scales: tuple[float, ...]
    test_size: int | None = None
    seed: int = 0


class Pair(NamedTuple):
    """One blurred and sharp pair: RGB uint8 images of equal size, and the kernel that blurred it."""

    name: str
    blurred: np.ndarray
    sharp: np.ndarray
    kernel: np.ndarray


def photograph(name: str, linear: np.ndarray, kernel: np.ndarray, rng: np.random.Generator) -> Pair:
    """Take a shaken and a steady photograph of the same light.

    Args:
        name: Key of the pair.
        linear: (H, W, 3) linear light.
        kernel: (k, k) blur kernel, k odd.
        rng: Source of the sensor noise; the steady photograph has none.

    Returns:
        A pair of (H - k + 1, W - k + 1) images.
    """
    border = kernel.shape[0] // 2
    blurred = CAMERA.expose(np.maximum(convolve(linear, kernel, border), 0), rng)
    sharp = to_uint8(linear_to_srgb(trim(linear, border)))
    return Pair(name, blurred, sharp, kernel)


def random_kernel(extents: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Draw the blur of a shaken hand, whose extent is uniform in a range.

    Args:
        extents: Smallest and largest extent in pixels.
        rng: Source of randomness.

    Returns:
        (k, k) kernel, k = 2 * ceil(largest extent) + 1 whatever was drawn, so that all kernels have one size.
    """
    path = draw_path(rng.uniform(*extents), draw_shake(BlurSettings(), rng), rng)
    return centred(kernel_of_path(path), 2 * math.ceil(extents[1]) + 1)


def training_pairs(recipe: Recipe) -> Iterator[Pair]:
    """Draw `recipe.crops` crops of the training photographs, each blurred by a kernel of its own."""
    rng = np.random.default_rng([recipe.seed, 0])
    scenes = [
        (name, photographs.shrink(linear, scale))
        for name in photographs.TRAINING
        for linear in [photographs.load_linear(name)]
        for scale in recipe.scales
    ]
    pixels = np.array([scene.shape[0] * scene.shape[1] for _, scene in scenes])
    for index in range(recipe.crops):
        kernel = random_kernel(recipe.extents, rng)
        side = recipe.crop_size + kernel.shape[0] - 1
        name, scene = scenes[rng.choice(len(scenes), p=pixels / pixels.sum())]
        top, left = (rng.integers(length - side + 1) for length in scene.shape[:2])
        yield photograph(f'{name}_{index:05d}', scene[top : top + side, left : left + side], kernel, rng)


def test_pairs(recipe: Recipe) -> Iterator[Pair]:
    """Blur every photograph held aside with one kernel that training never sees."""
    rng = np.random.default_rng([recipe.seed, 1])
    for name in photographs.HELD_ASIDE:
        linear = photographs.load_linear(name)
        kernel = random_kernel(recipe.extents, rng)
        if recipe.test_size is not None:
            side = recipe.test_size + kernel.shape[0] - 1
            top, left = ((length - side) // 2 for length in linear.shape[:2])
            linear = linear[top : top + side, left : left + side]
        yield photograph(name, linear, kernel, rng)


def write_lmdb(pairs: Iterable[Pair], folder: Path) -> dict[str, np.ndarray]:
    """Write `folder/lq.lmdb` (blurred) and `folder/gt.lmdb` (sharp), keyed by the names of the pairs.

    Returns:
        The kernel of every pair by name.
    """
    folder.mkdir(parents=True)
    blurred, sharp = (
        LmdbMaker(str(folder / f'{side}.lmdb'), map_size=MAP_SIZE, compress_level=PNG_COMPRESSION) for side in SIDES
    )
    kernels = {}
    for pair in pairs:
        for maker, image in ((blurred, pair.blurred), (sharp, pair.sharp)):
            maker.put(encode_png(image), pair.name, image.shape)
        kernels[pair.name] = pair.kernel
    blurred.close()
    sharp.close()
    return kernels


def read_lmdb(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the blurred and the sharp image of a pair, (H, W, 3) RGB uint8, the way BasicSR does."""
    client = FileClient('lmdb', db_paths=[str(folder / f'{side}.lmdb') for side in SIDES], client_keys=list(SIDES))
    blurred, sharp = (imfrombytes(client.get(name, side))[..., ::-1] for side in SIDES)
    return blurred, sharp


def encode_png(image: np.ndarray) -> bytes:
    """Encode an RGB uint8 image as PNG."""
    _, data = cv2.imencode('.png', image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])
    return data.tobytes()


def make(recipe: Recipe, folder: Path) -> bool:
    """Make sure that `folder` holds the data of a recipe.

    Args:
        recipe: What to make.
        folder: Where; replaced if it holds the data of another recipe.

    Returns:
        Whether the data had to be made.
    """
    wanted = json.loads(json.dumps(asdict(recipe)))
    note = folder / 'recipe.json'
    if note.exists() and json.loads(note.read_text()) == wanted:
        return False
    unfinished = folder.with_name(folder.name + '.unfinished')
    for stale in (unfinished, folder):
        shutil.rmtree(stale, ignore_errors=True)
    write_lmdb(progress(training_pairs(recipe), total=recipe.crops, unit='pair'), unfinished / 'train')
    kernels = write_lmdb(test_pairs(recipe), unfinished / 'test')
    np.savez(unfinished / 'test' / 'kernels.npz', **kernels)
    (unfinished / note.name).write_text(json.dumps(wanted, indent=2) + '\n')
    unfinished.rename(folder)
    return True
