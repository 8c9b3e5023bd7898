"""The table of the demo: blurred against restored, by BasicSR's own metrics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from basicsr.metrics import calculate_metric

METRICS = {
    'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False},
    'ssim': {'type': 'calculate_ssim', 'crop_border': 0, 'test_y_channel': False},
}


class Quality(NamedTuple):
    """PSNR in dB and SSIM of an image against the sharp one, on RGB values of 8 bits."""

    psnr: float
    ssim: float


class Row(NamedTuple):
    """One line of the table."""

    name: str
    blurred: Quality
    restored: Quality


def quality(image: np.ndarray, sharp: np.ndarray) -> Quality:
    """Compare two (H, W, 3) uint8 images."""
    return Quality(*(calculate_metric({'img': image, 'img2': sharp}, dict(METRICS[name])) for name in Quality._fields))


def mean(rows: list[Row]) -> Row:
    """The mean over photographs, of PSNR and of SSIM."""
    blurred, restored = (
        Quality(*np.mean([getattr(row, side) for row in rows], axis=0)) for side in ('blurred', 'restored')
    )
    return Row('mean', blurred, restored)


def table(rows: list[Row]) -> str:
    """Lay the rows and their mean out as a table that reads well in a terminal and in Markdown."""
    lines = [
        '| photograph | blurred PSNR | restored PSNR | gain in dB | blurred SSIM | restored SSIM |',
        '|:-----------|-------------:|--------------:|-----------:|-------------:|--------------:|',
    ]
    for name, blurred, restored in [*rows, mean(rows)]:
        gain = restored.psnr - blurred.psnr
        lines.append(
            f'| {name:10} | {blurred.psnr:12.2f} | {restored.psnr:13.2f} | {gain:+10.2f} '
            f'| {blurred.ssim:12.4f} | {restored.ssim:13.4f} |'
        )
    return '\n'.join(lines)
