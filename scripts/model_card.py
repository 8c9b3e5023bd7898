"""Put what was measured into the documentation: `python scripts/model_card.py EVALUATED`.

EVALUATED is what `deeprftv2 evaluate-photos --out EVALUATED` wrote for the weights of this package. Its tables and the
table of the training photographs are pasted between the markers of docs/model_card.md, its gains in one line between
those of README.md, and its pictures are copied to docs/model_card/. `--before` and `--after` make the picture of
README.md of a photograph and what `deeprftv2 restore` made of it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median

import numpy as np
from PIL import Image, ImageOps

ROOT = Path(__file__).resolve().parents[1]
CARD, README, FOLDER = ROOT / 'docs' / 'model_card.md', ROOT / 'README.md', ROOT / 'docs' / 'model_card'
SOURCES = FOLDER / 'training_photographs.tsv'
WEIGHTS = ROOT / 'deeprftv2_arch' / 'weights' / 'photos.safetensors'
SIDE = 420
"""Side of each half of the picture of README.md, in pixels."""


def paste(text: str, name: str, content: str) -> str:
    """Put content between the markers of a name, which stay.

    Raises:
        SystemExit: The text lacks them.
    """
    before, begin, rest = text.partition(f'<!-- {name} -->\n')
    _, end, after = rest.partition(f'<!-- end of {name} -->')
    if not begin or not end:
        sys.exit(f'There are no markers "{name}".')
    return f'{before}{begin}{content.strip()}\n{end}{after}'


def between(text: str, name: str) -> str:
    """What stands between the markers of a name."""
    return text.partition(f'<!-- {name} -->\n')[2].partition(f'<!-- end of {name} -->')[0].strip()


def table_of_sources() -> str:
    """The photographs of the training, counted by source."""
    with SOURCES.open(encoding='utf-8') as file:
        rows = list(csv.DictReader(file, delimiter='\t'))
    counts = Counter((row['repository'], row['commit'][:12], row['licence']) for row in rows)
    lines = ['| photographs | source | commit | licence |', '| ---: | --- | --- | --- |']
    for (repository, commit, licence), count in counts.most_common():
        lines.append(f'| {count} | {repository} | {commit} | {licence} |')
    return '\n'.join(lines)


def gains_in_one_line(rows: Iterable[dict[str, str]]) -> str:
    """The gains of the network and of the best classic filter, from `images.csv`."""
    rows = list(rows)
    gains: dict[str, list[float]] = {}
    for row in rows:
        if row['set'] == 'pairs':
            gains.setdefault(row['method'], []).append(float(row['psnr_after']) - float(row['psnr_before']))
    classic = max((method for method in gains if method.startswith('best ')), key=lambda method: fmean(gains[method]))
    (network,) = (method for method in gains if not method.startswith('best '))
    ours = gains[network]
    scenes = [float(row['psnr_after']) - float(row['psnr_before']) for row in rows if row['set'] == 'scenes']
    sharp = [float(row['psnr_after']) for row in rows if row['set'] == 'sharp']
    text = (
        f'Measured on {len(ours)} Kodak crops with synthetic blur: {fmean(ours):+.2f} dB in the mean, '
        f'{median(ours):+.2f} in the median, {min(ours):+.2f} at worst (best {classic.removeprefix("best ")}: '
        f'{fmean(gains[classic]):+.2f} in the mean). Of {len(scenes)} really blurred photographs '
        f'{sum(gain > 0 for gain in scenes)} came nearer to a sharp one of the same scene, by {fmean(scenes):+.2f} dB '
        f'in the mean. Sharp photographs come back with a PSNR of {fmean(sharp):.1f} dB to themselves.'
    )
    return textwrap.fill(text, 120)


def before_and_after(before: Path, after: Path) -> Image.Image:
    """The middle of a photograph beside the same part of what became of it."""
    halves = []
    for path in (before, after):
        image = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert('RGB'))
        top, left = max(image.shape[0] - SIDE, 0) // 2, max(image.shape[1] - SIDE, 0) // 2
        halves.append(image[top : top + SIDE, left : left + SIDE])
    gap = np.full((halves[0].shape[0], 8, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([halves[0], gap, halves[1]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('evaluated', type=Path, metavar='EVALUATED', help='what evaluate-photos wrote')
    parser.add_argument('--before', type=Path, help='a blurred photograph')
    parser.add_argument('--after', type=Path, help='the same, restored')
    args = parser.parse_args()
    figures = (args.evaluated / 'figures.md').read_text(encoding='utf-8')
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    if digest not in figures:
        sys.exit(f'{args.evaluated} was measured with other weights than {WEIGHTS}. Run evaluate-photos again.')
    card = paste(CARD.read_text(encoding='utf-8'), 'figures', figures)
    CARD.write_text(paste(card, 'sources', table_of_sources()), encoding='utf-8')
    with (args.evaluated / 'images.csv').open(encoding='utf-8') as file:
        line = gains_in_one_line(csv.DictReader(file))
    README.write_text(paste(README.read_text(encoding='utf-8'), 'gains', line), encoding='utf-8')
    for picture in (args.evaluated / 'pictures').glob('*.jpg'):
        shutil.copy(picture, FOLDER)
    if args.before and args.after:
        before_and_after(args.before, args.after).save(FOLDER / 'before_after.jpg', quality=88)
    print(line)


if __name__ == '__main__':
    main()
