"""Measuring what restores photographs: gains on pairs and on scenes, and what it does to sharp photographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from deeprftv2_arch.metrics.ssim import ssim_3d
from deeprftv2_arch.restoration.evaluation.alignment import psnr_after_light
from deeprftv2_arch.restoration.evaluation.filters import psnr_8_bits, to_float
from deeprftv2_arch.restoration.evaluation.pairs import Pair
from deeprftv2_arch.restoration.evaluation.scenes import AlignedScene

Restore = Callable[[np.ndarray], np.ndarray]
"""uint8 (H, W, 3) RGB -> the same, restored."""


@dataclass(frozen=True)
class Gain:
    """How much better one image became.

    Attributes:
        name: Of the image.
        before, after: PSNR of the blurred and of the restored image in dB.
        ssim_before, ssim_after: Structural similarity (`ssim_3d`); NaN where it is not measured.
        picture: The images to show: blurred, restored and sharp, uint8 (H, W, 3).
    """

    name: str
    before: float
    after: float
    ssim_before: float
    ssim_after: float
    picture: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def psnr(self) -> float:
        """The gain in dB."""
        return self.after - self.before


@dataclass(frozen=True)
class Gains:
    """The gains of one method over a set of images."""

    images: tuple[Gain, ...]

    @property
    def mean(self) -> float:
        """Mean gain in dB."""
        return fmean(gain.psnr for gain in self.images)

    @property
    def median(self) -> float:
        """Median gain in dB."""
        return median(gain.psnr for gain in self.images)

    @property
    def worst(self) -> float:
        """Least gain in dB."""
        return min(gain.psnr for gain in self.images)

    @property
    def worse(self) -> int:
        """How many images have lost."""
        return sum(gain.psnr < 0 for gain in self.images)

    @property
    def after(self) -> float:
        """Mean PSNR of the restored images in dB."""
        return fmean(gain.after for gain in self.images)

    @property
    def ssim_after(self) -> float:
        """Mean structural similarity of the restored images."""
        return fmean(gain.ssim_after for gain in self.images)

    def by_rule(self) -> dict[str, Gain]:
        """The images to show: the one that gained most, the one in the middle, the one that gained least."""
        ordered = sorted(self.images, key=lambda gain: gain.psnr)
        return {'best': ordered[-1], 'median': ordered[len(ordered) // 2], 'worst': ordered[0]}


def gains_on_pairs(restore: Restore, pairs: Iterable[Pair]) -> Gains:
    """Restore the blurred image of each pair and compare it with the sharp one."""
    images = []
    for pair in pairs:
        restored = restore(pair.blurred)
        images.append(
            Gain(
                pair.name,
                psnr_8_bits(pair.blurred, pair.sharp),
                psnr_8_bits(restored, pair.sharp),
                ssim_3d(to_float(pair.blurred), to_float(pair.sharp)),
                ssim_3d(to_float(restored), to_float(pair.sharp)),
                (pair.blurred, restored, pair.sharp),
            )
        )
    return Gains(tuple(images))


def gains_on_scenes(restore: Restore, scenes: Iterable[AlignedScene]) -> Gains:
    """Restore the blurred photograph of each scene and compare it with the aligned sharp one.

    Gain and offset of each colour are fitted for the blurred and for the restored photograph, each by itself.
    """
    images = []
    for scene in scenes:
        restored = restore(scene.blurred)
        before, after = (psnr_after_light(to_float(image), scene.alignment) for image in (scene.blurred, restored))
        sharp = np.rint(np.clip(scene.alignment.sharp, 0, 1) * 255).astype(np.uint8)
        images.append(Gain(scene.name, before, after, math.nan, math.nan, (scene.blurred, restored, sharp)))
    return Gains(tuple(images))


def change_of_sharp(restore: Restore, images: Iterable[tuple[str, np.ndarray]]) -> dict[str, float]:
    """PSNR in dB of what becomes of sharp photographs against themselves: the higher, the less they are changed."""
    return {name: psnr_8_bits(restore(image), image) for name, image in images}
