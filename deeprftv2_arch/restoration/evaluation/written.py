"""What an evaluation leaves behind: tables in Markdown, all values as CSV, and pictures chosen by rule."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np
from PIL import Image

from deeprftv2_arch.evaluation.contact_sheet import side_by_side
from deeprftv2_arch.restoration.evaluation.evaluation import Evaluation
from deeprftv2_arch.restoration.evaluation.measuring import Gains
from deeprftv2_arch.restoration.evaluation.scenes import LEAST_CORRELATION, LONG_SIDE
from deeprftv2_arch.utils.atomic_file import write_atomically

PICTURE_SIDE = 256
"""Most pixels of an image in a picture; its middle is shown."""


def tables(found: Evaluation) -> str:
    """All figures in Markdown."""
    parts = [f'{found.network}, `{found.weights}`, SHA-256 `{found.digest}`.']
    if found.pairs:
        parts += [_pairs_heading(found), _table_of_pairs(found.pairs)]
    if found.scenes or found.left_out:
        parts += _scenes(found)
    if found.sharp:
        parts.append(_sharp(found.sharp))
    if found.suspect:
        parts.append(f'The guard found {len(found.suspect)} outputs suspect: {"; ".join(sorted(set(found.suspect)))}.')
    return '\n\n'.join(parts) + '\n'


def values(found: Evaluation) -> str:
    """All values as CSV, one image and method per line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(('set', 'image', 'method', 'psnr_before', 'psnr_after', 'ssim_before', 'ssim_after', 'correlation'))
    for method, gains in found.pairs.items():
        for gain in gains.images:
            similarity = (f'{gain.ssim_before:.5f}', f'{gain.ssim_after:.5f}')
            writer.writerow(('pairs', gain.name, method, f'{gain.before:.4f}', f'{gain.after:.4f}', *similarity, ''))
    for gain in found.scenes.images if found.scenes else ():
        correlation = f'{found.correlations[gain.name]:.4f}'
        before_after = (f'{gain.before:.4f}', f'{gain.after:.4f}')
        writer.writerow(('scenes', gain.name, found.network, *before_after, '', '', correlation))
    for name in found.left_out:
        writer.writerow(('left out', name, '', '', '', '', '', f'{found.correlations[name]:.4f}'))
    for name, value in found.sharp.items():
        writer.writerow(('sharp', name, found.network, '', f'{value:.4f}', '', '', ''))
    return text.getvalue()


def write(found: Evaluation, out: Path) -> list[Path]:
    """Write `figures.md`, `images.csv`, and `pictures/` with the best, the median and the worst of pairs and scenes.

    Raises:
        UserError: The folder cannot be written to.
    """
    written = [
        write_atomically(out / 'figures.md', tables(found)),
        write_atomically(out / 'images.csv', values(found)),
    ]
    sets: dict[str, Gains] = {}
    if found.pairs:
        sets['pairs'] = found.pairs[found.network]
    if found.scenes:
        sets['scenes'] = found.scenes
    for kind, gains in sets.items():
        for rank, gain in gains.by_rule().items():
            picture = side_by_side(gain.picture, PICTURE_SIDE)
            written.append(write_atomically(out / 'pictures' / f'{kind}-{rank}.jpg', _jpeg(picture)))
    return written


def _pairs_heading(found: Evaluation) -> str:
    images = found.pairs[found.network].images
    height, width = images[0].picture[0].shape[:2]
    return f'{len(images)} pairs with synthetic blur, of {width}x{height} pixels (the first of them):'


def _table_of_pairs(methods: Mapping[str, Gains]) -> str:
    first = next(iter(methods.values())).images
    before, ssim_before = fmean(gain.before for gain in first), fmean(gain.ssim_before for gain in first)
    rows: list[tuple[str, ...]] = [('blurred', f'{before:.2f}', f'{ssim_before:.4f}', '', '', '', '')]
    for method, gains in methods.items():
        rows.append(
            (
                method,
                f'{gains.after:.2f}',
                f'{gains.ssim_after:.4f}',
                *(f'{value:+.2f}' for value in (gains.mean, gains.median, gains.worst)),
                f'{gains.worse} of {len(gains.images)}',
            )
        )
    return _markdown(('', 'PSNR dB', 'SSIM', 'mean gain', 'median', 'worst', 'got worse'), rows)


def _scenes(found: Evaluation) -> list[str]:
    parts = [
        f'Really blurred photographs, reduced to {LONG_SIDE} pixels, against the sharp one of the same scene, aligned:'
    ]
    if found.scenes:
        rows = [
            (
                gain.name,
                f'{found.correlations[gain.name]:.3f}',
                f'{gain.before:.2f}',
                f'{gain.after:.2f}',
                f'{gain.psnr:+.2f}',
            )
            for gain in found.scenes.images
        ]
        before = fmean(gain.before for gain in found.scenes.images)
        rows.append(('mean', '', f'{before:.2f}', f'{found.scenes.after:.2f}', f'{found.scenes.mean:+.2f}'))
        parts.append(_markdown(('scene', 'correlation', 'blurred dB', 'restored dB', 'gain'), rows))
        better = len(found.scenes.images) - found.scenes.worse
        parts.append(f'{better} of {len(found.scenes.images)} became better.')
    if found.left_out:
        named = ', '.join(f'{name} ({found.correlations[name]:.3f})' for name in found.left_out)
        parts.append(f'Left out, as they could not be aligned (correlation below {LEAST_CORRELATION}): {named}.')
    return parts


def _sharp(changes: Mapping[str, float]) -> str:
    decibels = list(changes.values())
    least = min(changes, key=changes.__getitem__)
    text = (
        'Sharp images are to be left alone. The PSNR of the output against the input is '
        f'{fmean(decibels):.2f} dB in the mean of {len(decibels)} images, {median(decibels):.2f} in the median, '
        f'{changes[least]:.2f} for the one that changed most ({least}).'
    )
    return textwrap.fill(text, 120)


def _markdown(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns but the first are aligned right."""
    widths = [max(map(len, column)) for column in zip(heading, *rows, strict=True)]
    rule = ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]
    lines = []
    for cells in (heading, rule, *rows):
        aligned = [cells[0].ljust(widths[0])]
        aligned += [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        lines.append(f'| {" | ".join(aligned)} |')
    return '\n'.join(lines)


def _jpeg(picture: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, 'JPEG', quality=88)
    return content.getvalue()
