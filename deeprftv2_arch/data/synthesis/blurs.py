"""The kinds of blur, each drawn from its ranges and applied to linear light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.data.synthesis.kernels import convolve, disc, kernel_of_path
from deeprftv2_arch.data.synthesis.trajectory import draw_path, draw_shake
from deeprftv2_arch.data.synthesis.views import average_views, draw_views


class Blur(Protocol):
    """A blur that can be applied and looked at."""

    def apply(self, light: np.ndarray, margin: int) -> np.ndarray:
        """Blur (H + 2 * margin, W + 2 * margin, 3) of linear light to (H, W, 3)."""

    def kernel(self) -> np.ndarray:
        """The kernel (k, k) at the centre of the crop."""


@dataclass(frozen=True)
class EvenBlur:
    """The same kernel (k, k) everywhere."""

    weights: np.ndarray

    def apply(self, light: np.ndarray, margin: int) -> np.ndarray:
        return convolve(light, self.weights, margin)

    def kernel(self) -> np.ndarray:
        return self.weights


@dataclass(frozen=True)
class MovingView:
    """A rotating camera: (poses, 4, 2) shifts of the corners."""

    shifts: np.ndarray

    def apply(self, light: np.ndarray, margin: int) -> np.ndarray:
        return average_views(light, self.shifts, margin)

    def kernel(self) -> np.ndarray:
        # The centre moves nearly as the mean of the corners does.
        return kernel_of_path(self.shifts.mean(axis=1)[:, ::-1])


@dataclass(frozen=True)
class Layers:
    """An object that moves before a background with a blur of its own.

    The outline of the object is blurred as the object is, and what it uncovers is background (Carbajal et al.,
    "Rethinking Motion Deblurring Training", 2022).

    Attributes:
        back, front: Kernels (k, k).
        outline_seed: Seed of the random outline, which is drawn for the size it is needed in.
        share: Share of the picture that the object covers.
    """

    back: np.ndarray
    front: np.ndarray
    outline_seed: int
    share: float

    def apply(self, light: np.ndarray, margin: int) -> np.ndarray:
        outline = random_outline(light.shape[:2], self.share, np.random.default_rng(self.outline_seed))[..., None]
        covering = convolve(np.concatenate([light * outline, outline], axis=2), self.front, margin)
        return covering[..., :3] + (1 - covering[..., 3:]) * convolve(light, self.back, margin)

    def kernel(self) -> np.ndarray:
        return self.back


def random_outline(size: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a round-edged shape: (H, W) float32, 1 inside, 0 outside, an edge of about one pixel between.

    Args:
        size: Height and width.
        share: Share of the picture inside.
        rng: Source of randomness.
    """
    hills = cv2.resize(rng.standard_normal((4, 4), np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    level = np.quantile(hills, 1 - share)
    slope = max(float(np.abs(np.diff(hills, axis=1)).mean()), 1e-6)
    return np.clip((hills - level) / slope + 0.5, 0, 1)


def draw_blur(size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> Blur:
    """Draw a kind of blur by its share, and the blur from its ranges.

    Args:
        size: Height and width of the crop.
        settings: Shares and ranges.
        rng: Source of randomness.
    """
    shares = np.array([getattr(settings, f'share_{kind}') for kind in KINDS])
    kind = rng.choice(list(KINDS), p=shares / shares.sum())
    return KINDS[kind](size, settings, rng)


def _shake_kernel(extents: tuple[float, float], settings: BlurSettings, rng: np.random.Generator) -> np.ndarray:
    return kernel_of_path(draw_path(rng.uniform(*extents), draw_shake(settings, rng), rng))


def _disc_kernel(settings: BlurSettings, rng: np.random.Generator) -> np.ndarray:
    return disc(rng.uniform(*settings.defocus_radius), rng.uniform(*settings.defocus_rim))


def _shake(size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> Blur:
    return EvenBlur(_shake_kernel(settings.shake_extent, settings, rng))


def _rotation(size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> Blur:
    return MovingView(draw_views(rng.uniform(*settings.shake_extent), size, settings, rng))


def _defocus(size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> Blur:
    return EvenBlur(_disc_kernel(settings, rng))


def _layers(size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> Blur:
    kind = rng.integers(3)
    if kind == 0:
        back = _shake_kernel(settings.shake_extent, settings, rng)
    elif kind == 1:
        back = _disc_kernel(settings, rng)
    else:
        back = _shake_kernel(settings.sharp_extent, settings, rng)
    front = _shake_kernel(settings.shake_extent, settings, rng)
    return Layers(back, front, int(rng.integers(2**31)), rng.uniform(*settings.layer_share))


def _sharp(size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> Blur:
    return EvenBlur(_shake_kernel(settings.sharp_extent, settings, rng))


Draw = Callable[[tuple[int, int], BlurSettings, np.random.Generator], Blur]
KINDS: dict[str, Draw] = {
    'shake': _shake,
    'rotation': _rotation,
    'defocus': _defocus,
    'layers': _layers,
    'sharp': _sharp,
}
"""How each kind is drawn, by the name in its ``share_*``."""
