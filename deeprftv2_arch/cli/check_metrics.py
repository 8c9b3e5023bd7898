"""`deeprftv2 metrics`: check them on this machine, against exact identities and published values of Set5."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.utils import bgr2ycbcr
from basicsr.utils.matlab_functions import imresize

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.metrics.info import as_rgb
from deeprftv2_arch.metrics.pixelwise import mean_absolute_error, psnr
from deeprftv2_arch.metrics.realblur import align, aligned_psnr
from deeprftv2_arch.metrics.ssim import ssim_3d, ssim_uniform
from deeprftv2_arch.utils.errors import UserError

CLEAN, FOUND = 0, 1

BICUBIC_SET5 = {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}
"""PSNR and SSIM on luma of MATLAB's bicubic interpolation on Set5, by scale, as the tables of the field have them."""

LAYOUTS = ('image_SRF_{scale}/*_HR.png', 'HR/*.png', 'GTmod12/*.png', 'original/*.png', '*.png', '*.bmp')
"""Where the full-size images are, in the copies of Set5 that are handed around."""


class Check(NamedTuple):
    """A metric value beside what it must be.

    Attributes:
        what: Metric and images in words.
        value: Ours.
        expected: The exact or the published one.
        decimals: Digits behind the point that must agree.
        bound: Whether ours must only be larger than what is expected.
    """

    what: str
    value: float
    expected: float
    decimals: int
    bound: bool = False

    @property
    def holds(self) -> bool:
        """Whether both are the same when rounded, or ours is beyond the bound."""
        if self.bound:
            return self.value > self.expected
        return round(self.value, self.decimals) == round(self.expected, self.decimals)


def identities() -> Iterator[Check]:
    """Yield values that are known exactly, whatever the image."""
    sharp = cv2.resize(np.random.default_rng(0).integers(0, 251, (12, 16, 3), np.uint8), (128, 96))
    lighter = sharp + np.uint8(1)
    one_step = 20 * np.log10(255)
    yield Check('calculate_psnr, +1 of 255 everywhere', calculate_psnr(lighter, sharp, crop_border=0), one_step, 4)
    x, y = as_rgb(lighter, sharp)
    yield Check('calculate_psnr_float, the same', psnr(x, y), one_step, 4)
    yield Check('calculate_mae, the same', mean_absolute_error(x, y), 1 / 255, 9)
    yield Check('calculate_ssim, equal images', calculate_ssim(sharp, sharp, crop_border=0), 1, 9)
    yield Check('calculate_ssim_3d, equal images', ssim_3d(y, y), 1, 9)
    yield Check('calculate_ssim_uniform, equal images', ssim_uniform(y, y), 1, 9)
    flat = np.full((32, 32, 3), 0.5)
    # Without structure only the mean is compared: (2ab + C) / (a² + b² + C).
    luminance = (2 * 0.5 * 0.25 + 1e-4) / (0.5**2 + 0.25**2 + 1e-4)
    yield Check('calculate_ssim_3d, flat grey against half of it', ssim_3d(flat, flat / 2), luminance, 9)
    yield Check('calculate_ssim_uniform, the same', ssim_uniform(flat, flat / 2), luminance, 9)
    darker, moved = align(0.5 * y, y), align(np.roll(y, 1, axis=1), y)
    yield Check('calculate_psnr_aligned, half as bright', aligned_psnr(darker), 60, 2, bound=True)
    yield Check('calculate_psnr_aligned, one pixel aside', aligned_psnr(moved), 30, 2, bound=True)


def bicubic(folder: Path) -> Iterator[Check]:
    """Score bicubic interpolation on Set5, the oldest values of the field.

    The image is cropped to a multiple of the scale, its luma rounded to 8 bits, shrunk with MATLAB's ``imresize``
    without rounding, enlarged again and rounded; as many pixels as the scale are left out at every edge.

    Raises:
        UserError: If the folder does not hold the five images.
    """
    for scale, published in BICUBIC_SET5.items():
        psnr_y, ssim_y = np.mean([_score_bicubic(file, scale) for file in _find_images(folder, scale)], axis=0)
        yield Check(f'Set5, bicubic x{scale}, PSNR', float(psnr_y), published[0], 2)
        yield Check(f'Set5, bicubic x{scale}, SSIM', float(ssim_y), published[1], 4)


def _find_images(folder: Path, scale: int) -> list[Path]:
    expected = KNOWN_SETS['set5'].images['test']
    for layout in LAYOUTS:
        files = sorted(folder.glob(layout.format(scale=scale)))
        if len(files) == expected:
            return files
    places = ', '.join(layout.format(scale=scale) for layout in LAYOUTS)
    raise UserError(f'--set5 {folder}: found no {expected} full-size images. Looked for {places}.')


def _score_bicubic(file: Path, scale: int) -> tuple[float, float]:
    image = cv2.imread(str(file))
    if image is None:
        raise UserError(f'{file}: OpenCV cannot decode this file as an image.')
    height, width = (side - side % scale for side in image.shape[:2])
    luma = bgr2ycbcr(image[:height, :width], y_only=True)
    small = imresize(luma / 255.0, 1 / scale)
    enlarged = (imresize(small, scale) * 255).round().clip(0, 255).astype(np.uint8)
    return calculate_psnr(enlarged, luma, crop_border=scale), calculate_ssim(enlarged, luma, crop_border=scale)


def main(arguments: list[str] | None = None) -> int:
    """Print every value beside the one it must be.

    Returns:
        0 if all agree, else 1.

    Raises:
        UserError: If the images are not there.
    """
    parser = command_parser(
        'metrics', 'Compare the metrics with exact identities and with published values.', '--set5 datasets/Set5'
    )
    parser.add_argument('--set5', type=Path, metavar='DIR', help='folder with the images of Set5: bicubic values too')
    args = parser.parse_args(arguments)
    checks = list(identities())
    if args.set5:
        checks += bicubic(args.set5)
    for check in checks:
        verdict = 'ok   ' if check.holds else 'WRONG'
        relation = 'above' if check.bound else ''
        value, expected = f'{check.value:.{check.decimals}f}', f'{check.expected:.{check.decimals}f}'
        print(f'{verdict}  {value:>11}  expected {relation:5} {expected:>11}  {check.what}')
    return CLEAN if all(check.holds for check in checks) else FOUND
