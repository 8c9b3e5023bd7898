"""A sharp photograph brought into the place of a blurred one of the same scene, taken from the hand again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from deeprftv2_arch.metrics.pixelwise import psnr

HALVINGS = 3
"""The homography is found on images halved so often first, then on each larger one."""

STOP = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-6)

SMOOTHING = 5
"""Side of the Gaussian filter before the alignment, OpenCV's default."""

BORDER = 8
"""Pixels along the edges, and around what the warped image does not cover, that are not compared."""


@dataclass(frozen=True)
class Alignment:
    """A sharp photograph in the place of a blurred one.

    Attributes:
        sharp: float32 (H, W, 3) in [0, 1], warped.
        mask: bool (H, W), where it is known.
        correlation: Between the two in grey, -1 to 1; 0 if no homography was found.
    """

    sharp: np.ndarray
    mask: np.ndarray
    correlation: float


def align(sharp: np.ndarray, blurred: np.ndarray) -> Alignment:
    """Find the homography with the largest enhanced correlation (ECC, Evangelidis and Psarakis 2008), and apply it.

    ECC follows no change of brightness and contrast, so none is corrected before.

    Args:
        sharp: float32 (H', W', 3) RGB in [0, 1].
        blurred: float32 (H, W, 3) RGB in [0, 1].
    """
    template, image = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (blurred, sharp))
    warp = np.eye(3, dtype=np.float32)
    correlation = 0.0
    for halvings in range(HALVINGS, -1, -1):
        small_template, small_image = (_reduced(x, halvings) for x in (template, image))
        reduced = _scaled(warp, 0.5**halvings)
        everywhere = np.full(small_image.shape, 255, np.uint8)
        try:
            correlation, found = cv2.findTransformECC(
                small_template, small_image, reduced, cv2.MOTION_HOMOGRAPHY, STOP, everywhere, SMOOTHING
            )
        except cv2.error:  # it does not converge: on small images of little structure, or not at all
            correlation = 0.0
            continue
        warp = _scaled(np.asarray(found, np.float32), 2.0**halvings)
    size = blurred.shape[1::-1]
    moved = cv2.warpPerspective(sharp, warp, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    covered = cv2.warpPerspective(np.ones_like(image), warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    known = np.zeros(covered.shape, np.uint8)
    known[BORDER:-BORDER, BORDER:-BORDER] = covered[BORDER:-BORDER, BORDER:-BORDER] > 0.999
    mask = cv2.erode(known, np.ones((2 * BORDER + 1, 2 * BORDER + 1), np.uint8))
    return Alignment(moved, mask.astype(bool), float(correlation))


def psnr_after_light(image: np.ndarray, alignment: Alignment) -> float:
    """PSNR of an image against the aligned sharp one, in dB, after the gain and offset of each colour that fit best.

    Args:
        image: float32 (H, W, 3) in [0, 1].
        alignment: Of its scene.
    """
    fitted, sharp = [], []
    for colour in range(3):
        x = image[..., colour][alignment.mask].astype(np.float64)
        y = alignment.sharp[..., colour][alignment.mask].astype(np.float64)
        gain, offset = np.polyfit(x, y, 1)
        fitted.append(gain * x + offset)
        sharp.append(y)
    return psnr(np.stack(fitted), np.stack(sharp))


def _reduced(image: np.ndarray, halvings: int) -> np.ndarray:
    size = (max(image.shape[1] >> halvings, 1), max(image.shape[0] >> halvings, 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _scaled(warp: np.ndarray, factor: float) -> np.ndarray:
    """The homography between the same images, both enlarged by a factor; pixel centres lie at whole numbers."""
    shift = (factor - 1) / 2
    enlarge = np.array([[factor, 0, shift], [0, factor, shift], [0, 0, 1]])
    scaled = enlarge @ warp.astype(np.float64) @ np.linalg.inv(enlarge)
    return (scaled / scaled[2, 2]).astype(np.float32)
