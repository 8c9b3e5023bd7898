"""A camera that rotates during the exposure: the blurred photograph is the mean of what it sees in each pose.

Each pose is a homography K R K^-1 of the image plane (Whyte et al., "Non-uniform Deblurring for Shaken Images",
International Journal of Computer Vision 98(2), 2012), so the blur differs from corner to corner. A pose is kept as the
shifts of the four corners of the crop, which a homography is determined by.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.data.synthesis.trajectory import STEPS, draw_path, draw_shake, path_extent, path_length


def crop_corners(height: int, width: int) -> np.ndarray:
    """The centres (x, y) of the corner pixels of a crop, (4, 2)."""
    right, bottom = width - 1, height - 1
    return np.array([(0, 0), (right, 0), (right, bottom), (0, bottom)], np.float64)


def draw_views(extent: float, size: tuple[int, int], settings: BlurSettings, rng: np.random.Generator) -> np.ndarray:
    """Draw the poses of a rotating camera.

    Args:
        extent: Largest distance between two positions of the same corner, in pixels, for the corner that moves most.
        size: Height and width of the crop.
        settings: Ranges.
        rng: Source of randomness.

    Returns:
        (poses, 4, 2) shifts (x, y) of the corners in pixels; their mean over the poses is zero.
    """
    shake = draw_shake(settings, rng)
    focal = math.exp(rng.uniform(*np.log(settings.focal_length)))
    # The crop lies anywhere in a photograph of a usual angle of view: half as wide as the focal length to each side.
    centre = rng.uniform(-0.5, 0.5, 2) * focal
    tilt = draw_path(extent / focal, shake, rng)
    turn = draw_path(1, shake, rng)[:, 0] * math.radians(rng.uniform(0, settings.roll))
    corners = crop_corners(*size) - crop_corners(*size).mean(axis=0) + centre
    shifts = _shifts(corners, tilt, turn, focal)
    shifts *= extent / max(path_extent(shifts[:, corner]) for corner in range(4))
    length = max(path_length(shifts[:, corner]) for corner in range(4))
    poses = min(max(math.ceil(length), 8), settings.poses)
    chosen = shifts[np.linspace(0, STEPS - 1, poses).round().astype(int)]
    return chosen - chosen.mean(axis=0)


def _shifts(corners: np.ndarray, tilt: np.ndarray, turn: np.ndarray, focal: float) -> np.ndarray:
    """Where rotations move points of the image plane: (n, 4, 2) for (4, 2) points, (n, 2) tilts and (n,) rolls."""
    rays = np.concatenate([corners / focal, np.ones((len(corners), 1))], axis=1)
    rotations = np.stack([cv2.Rodrigues(vector)[0] for vector in np.column_stack([tilt, turn])])
    moved = rays @ rotations.transpose(0, 2, 1)
    return focal * moved[..., :2] / moved[..., 2:] - corners


def average_views(image: np.ndarray, shifts: np.ndarray, margin: int) -> np.ndarray:
    """Average what a moving camera sees.

    Args:
        image: (H + 2 * margin, W + 2 * margin, C), float32.
        shifts: (poses, 4, 2) as from :func:`draw_views`.
        margin: Pixels on each side that only serve as surroundings.

    Returns:
        (H, W, C).
    """
    height, width = (length - 2 * margin for length in image.shape[:2])
    corners = crop_corners(height, width).astype(np.float32)
    total = np.zeros((height, width, image.shape[2]), np.float32)
    for shift in shifts:
        # A scene that moved by `shift` is seen at x where it was at x - shift.
        source = (corners + margin - shift).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, source)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        total += cv2.warpPerspective(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return total / len(shifts)
