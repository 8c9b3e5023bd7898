"""`deeprftv2 restore`: photographs in, restored photographs out."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from deeprftv2_arch.cli.arguments import command_parser, number_in, tile_size
from deeprftv2_arch.restoration.batch import Job, Output, check_writable, find_jobs, restore_all
from deeprftv2_arch.restoration.photo_file import MAX_MEGAPIXELS
from deeprftv2_arch.restoration.photo_formats import FORMATS
from deeprftv2_arch.utils.console import PROGRAM_ERROR


def main(arguments: list[str] | None = None) -> int:
    """Restore photographs and print one line about each.

    Returns:
        0, or 1 if a photograph could not be restored.

    Raises:
        UserError: There is nothing to restore, or no photograph could be, whichever.
    """
    args = _parser().parse_args(arguments)
    out = Path(args.out)
    file_format = args.format and args.format.upper()
    jobs = find_jobs(args.photos, out, file_format)
    check_writable(out)

    # Only now what takes seconds to import.
    from deeprftv2_arch.basicsr_compat.registration import register_all

    register_all()
    from deeprftv2_arch.restoration.restorer import Restorer

    restorer = Restorer.load(
        args.weights,
        args.device,
        tile=tile_size(args.tile),
        precision=args.precision,
        self_ensemble=args.self_ensemble,
    )
    print(f'{restorer.network.name} on {restorer.device}, {len(jobs)} photograph{"s" * (len(jobs) > 1)}', flush=True)
    progress = _Progress()
    try:
        summary = restore_all(
            jobs,
            restorer,
            Output(file_format, args.quality, not args.strip_metadata, args.overwrite),
            strength=args.strength,
            on_suspect=args.on_suspect,
            max_megapixels=args.max_megapixels,
            tell=progress.tell,
            progress_of=progress.of,
        )
    finally:
        progress.close()
    if len(jobs) > 1:
        print(f'{summary}.')
    return PROGRAM_ERROR if summary.failed else 0


class _Progress:
    """A bar with the time left for the photograph at work, on a terminal."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.start = time.monotonic()

    def of(self, job: Job) -> Callable[[int, int], None]:
        self.close()
        self.start = time.monotonic()
        bar = self.bar = tqdm(desc=job.source.name, unit='tile', leave=False, disable=None)

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.n = done
            bar.refresh()

        return update

    def tell(self, line: str) -> None:
        took = f', {time.monotonic() - self.start:.1f} s' if self.bar is not None and ' -> ' in line else ''
        self.close()
        print(f'{line}{took}', file=sys.stderr if line.startswith('Error: ') else sys.stdout, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'restore',
        'Restore blurred photographs. The files are only read; the restored ones go to another folder, in the same '
        'format and with the same metadata. What is there already is skipped, so that the same command goes on where '
        'it was interrupted.',
        'blurred.jpg',
        'holidays --out holidays_sharp --strength 0.8',
        'blurred.jpg --weights NAFNet-GoPro-width64.pth',
    )
    parser.add_argument('photos', nargs='+', metavar='PHOTO_OR_FOLDER', help='JPEG, PNG, TIFF, WebP, BMP, or folders')
    parser.add_argument('--out', default='restored', metavar='DIR', help='folder to write to (default: restored)')
    parser.add_argument('--overwrite', action='store_true', help='make again what is there already')
    parser.add_argument('--format', choices=[name.lower() for name in FORMATS], help='(default: as the photograph)')
    parser.add_argument(
        '--quality', type=number_in(1, 100, int), default=95, help='of JPEG and WebP, 1 to 100 (default: 95)'
    )
    parser.add_argument('--strip-metadata', action='store_true', help='keep colour profile and orientation alone')
    parser.add_argument('--weights', metavar='FILE', help='other weights than those of this package (docs/restore.md)')
    parser.add_argument(
        '--strength', type=number_in(0, 1, float), default=1.0, help='0 for the input, 1 for all (default)'
    )
    parser.add_argument(
        '--self-ensemble', action='store_true', help='mean over eight flips and turns; takes 8 times as long'
    )
    parser.add_argument(
        '--on-suspect',
        choices=('blend', 'keep', 'write'),
        default='blend',
        help='where an output does not look like its input: blend the input in there (default), keep the '
        'input, or write the output as it is',
    )
    parser.add_argument(
        '--tile', default='auto', help='pixels of a tile, auto (default) for what fits in memory, or none'
    )
    parser.add_argument('--device', help='cuda, mps or cpu (default: the first of these that there is)')
    parser.add_argument('--precision', choices=('float32', 'bfloat16'), default='float32', help='(default: float32)')
    parser.add_argument(
        '--max-megapixels',
        type=float,
        default=MAX_MEGAPIXELS,
        metavar='N',
        help=f'refuse larger photographs (default: {MAX_MEGAPIXELS:.0f})',
    )
    return parser
