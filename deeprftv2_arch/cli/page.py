"""`deeprftv2 page`: restoring photographs in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path

from deeprftv2_arch.cli.arguments import command_parser, number_in, tile_size
from deeprftv2_arch.restoration.photo_file import MAX_MEGAPIXELS

SHIPPED_NAME = 'those of this package'


def main(arguments: list[str] | None = None) -> None:
    """Serve the page until Ctrl+C.

    Raises:
        UserError: gradio is missing, weights cannot be used, or the port is taken.
    """
    args = _parser().parse_args(arguments)

    # Only now what takes seconds to import.
    from deeprftv2_arch.page.server import check_gradio, serve

    check_gradio()
    from deeprftv2_arch.basicsr_compat.registration import register_all

    register_all()
    from deeprftv2_arch.restoration.network import SHIPPED
    from deeprftv2_arch.restoration.restorer import Restorer

    files: list[str | None] = list(args.weights)
    if SHIPPED.is_file() or not files:
        files.append(None)
    chosen_by = names(files)
    options = {'tile': tile_size(args.tile), 'precision': args.precision}
    restorers = {name: Restorer.load(file, args.device, **options) for name, file in zip(chosen_by, files, strict=True)}
    first = restorers[chosen_by[0]]
    print(f'{", ".join(restorer.network.name for restorer in restorers.values())} on {first.device}', flush=True)
    serve(restorers, port=args.port, opens_browser=not args.no_browser, max_megapixels=args.max_megapixels)


def names(files: list[str | None]) -> list[str]:
    """What files of weights are called on the page: their own names, or their paths where those are the same."""
    found = [SHIPPED_NAME if file is None else Path(file).name for file in files]
    return [
        name if file is None or found.count(name) == 1 else str(file) for name, file in zip(found, files, strict=True)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'page',
        'Restore photographs in the browser: drop one, compare before and after, download it. The page is for this '
        'computer alone, and asks nothing of others.',
        '',
        '--weights NAFNet-GoPro-width64.pth photos.safetensors --port 8000',
    )
    parser.add_argument(
        '--weights',
        nargs='+',
        default=[],
        metavar='FILE',
        help='other weights than those of this package; of several the page offers a choice (docs/restore.md)',
    )
    parser.add_argument('--port', type=number_in(1, 65535, int), help='(default: the first free one from 7860 on)')
    parser.add_argument('--no-browser', action='store_true', help='do not open the browser')
    parser.add_argument('--device', help='cuda, mps or cpu (default: the first of these that there is)')
    parser.add_argument('--precision', choices=('float32', 'bfloat16'), default='float32', help='(default: float32)')
    parser.add_argument(
        '--tile', default='auto', help='pixels of a tile, auto (default) for what fits in memory, or none'
    )
    parser.add_argument(
        '--max-megapixels',
        type=float,
        default=MAX_MEGAPIXELS,
        metavar='N',
        help=f'refuse larger photographs (default: {MAX_MEGAPIXELS:.0f})',
    )
    return parser
