"""From a sharp photograph to a blurred and a sharp crop of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.data.synthesis.blurs import Blur, draw_blur
from deeprftv2_arch.data.synthesis.camera import (
    Camera,
    brighten_highlights,
    decode_light,
    draw_camera,
    linear_to_srgb,
)
from deeprftv2_arch.data.synthesis.kernels import trim


class BlurredPair(NamedTuple):
    """A photograph of a blurred view, and what it should have been.

    Attributes:
        blurred: (H, W, 3) RGB uint8.
        sharp: (H, W, 3) RGB float32 in [0, 1].
        blur: What blurred it.
        camera: What took it.
    """

    blurred: np.ndarray
    sharp: np.ndarray
    blur: Blur
    camera: Camera


def smallest_photograph(size: tuple[int, int], settings: BlurSettings) -> tuple[int, int]:
    """Height and width that a photograph needs for crops of a size."""
    return size[0] + 2 * settings.margin, size[1] + 2 * settings.margin


def draw_pair(
    photograph: np.ndarray, size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator
) -> BlurredPair:
    """Cut a textured crop out of a photograph, turn or mirror it at random, and blur it.

    Args:
        photograph: (H, W, 3) RGB uint8, at least of :func:`smallest_photograph`.
        size: Height and width of the crop; only a square is also turned by 90 degrees.
        settings: Ranges.
        rng: Source of randomness.
    """
    region = cut_region(photograph, smallest_photograph(size, settings), settings, rng)
    return blur_region(turn(region, rng), draw_blur(size, settings, rng), settings, rng)


def blur_region(region: np.ndarray, blur: Blur, settings: BlurSettings, rng: np.random.Generator) -> BlurredPair:
    """Blur a piece of a photograph with a camera of its own.

    Args:
        region: (H + 2 * margin, W + 2 * margin, 3) RGB uint8, or float32 linear light; margin as of the settings.
        blur: What blurs it.
        settings: Ranges of the camera.
        rng: Source of randomness.
    """
    camera = draw_camera(settings, rng)
    light = decode_light(region) if region.dtype == np.uint8 else region
    light = brighten_highlights(light, settings.highlight_start, camera.highlight_gain)
    sharp = linear_to_srgb(np.clip(trim(light, settings.margin), 0, 1))
    # An FFT may leave tiny negative values.
    blurred = np.maximum(blur.apply(light, settings.margin), 0)
    return BlurredPair(camera.expose(blurred, rng), sharp, blur, camera)


def cut_region(
    photograph: np.ndarray, size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator
) -> np.ndarray:
    """Cut a piece out of a photograph, reduced by a random factor, where there is texture.

    Args:
        photograph: (H, W, 3) RGB uint8.
        size: Height and width of the piece.
        settings: Ranges.
        rng: Source of randomness.

    Returns:
        (*size, 3): uint8, or float32 linear light if it was reduced: light is averaged, not its sRGB values.
    """
    least = max(size[0] / photograph.shape[0], size[1] / photograph.shape[1])
    factor = max(rng.uniform(*settings.photograph_scale), least)
    height = min(math.ceil(size[0] / factor), photograph.shape[0])
    width = min(math.ceil(size[1] / factor), photograph.shape[1])
    for _ in range(settings.tries):
        top = rng.integers(photograph.shape[0] - height + 1)
        left = rng.integers(photograph.shape[1] - width + 1)
        piece = photograph[top : top + height, left : left + width]
        if texture(piece) >= settings.texture:
            break
    if piece.shape[:2] == size:
        return piece
    return cv2.resize(decode_light(piece), size[::-1], interpolation=cv2.INTER_AREA)


def texture(image: np.ndarray) -> float:
    """The mean step between neighbouring pixels of an RGB uint8 image, in green and of 255."""
    green = image[..., 1].astype(np.int16)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean()) / 2


def turn(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn or mirror an image (H, W, C) at random: one of the eight symmetries of a square, or four of a rectangle."""
    mirror, upset, transpose = rng.integers(2, size=3)
    if mirror:
        image = cv2.flip(image, 1)
    if upset:
        image = cv2.flip(image, 0)
    if transpose and image.shape[0] == image.shape[1]:
        image = cv2.transpose(image)
    return image
