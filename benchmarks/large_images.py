"""Memory of restoring an image, whole and in tiles: `python benchmarks/large_images.py`.

Every image is restored by DeepRFTv2-B in a process of its own. Printed is by how much that raises the peak of the
process; and, for whole images, the same as a number of full-resolution maps of the first level's width, on which
`tile: auto` builds its estimate. The allocator is told to give freed memory back at once.

How many blocks a level has changes the time and hardly the memory, as a forward pass keeps nothing of the block before.
The image itself, its pyramid and the result add what does not depend on the network: a small one shows that for the
largest photograph in minutes, `--width 4 --columns 1 --blocks 1 1 1`. The table says what was run.
"""

from __future__ import annotations

import argparse
import json

import torch
from machine import GIVES_FREED_MEMORY_BACK, MB, describe, in_own_process, peak_growth, seconds

from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.archs.deeprftv2_arch import PEAK_MAPS

TARGET = 3000  # MB


def restore(net: DeepRFTv2, height: int, width: int) -> None:
    """Measure one image and print the result as JSON."""
    with torch.no_grad():
        net(torch.rand(1, 3, 64, 64))  # compiles the scan
        image = torch.rand(1, 3, height, width)
        took = 0.0

        def run() -> None:
            nonlocal took
            took = seconds(lambda: net(image))

        peak = peak_growth(run)
    print(json.dumps({'peak': peak, 'seconds': took}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--images',
        nargs='+',
        default=['256x256/0', '512x512/0', '720x1280/512', '3456x4600/512'],
        metavar='HxW/TILE',
        help='images to restore; tile 0 is the whole image',
    )
    parser.add_argument('--blocks', nargs=3, type=int, default=[1, 4, 8], help='blocks of each level')
    parser.add_argument('--width', type=int, default=48, help='channels of the first level')
    parser.add_argument('--columns', type=int, default=2, help='columns of the network')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--one', nargs=3, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        height, width, tile = args.one
        options = {'width': args.width, 'num_columns': args.columns, 'num_blocks': args.blocks}
        restore(DeepRFTv2(**options, tile=tile or None).eval(), height, width)
        return
    print(describe())
    print(
        f'{"image":>10} {"tile":>5} {"width":>5} {"columns":>7} {"blocks":>7} {"peak MB":>8} {"seconds":>8} {"maps":>6}'
    )
    peaks = []
    for image in args.images:
        size, tile = image.split('/')
        height, width = map(int, size.split('x'))
        network = ('--width', args.width, '--columns', args.columns, '--blocks', *args.blocks)
        options = ('--threads', args.threads, *network, '--one', height, width, tile)
        result = in_own_process(__file__, *options, environment=GIVES_FREED_MEMORY_BACK)
        maps = f'{result["peak"] / (height * width * args.width * 4):6.1f}' if tile == '0' else ''
        peaks.append(result['peak'] / MB)
        blocks = '-'.join(map(str, args.blocks))
        print(
            f'{size:>10} {tile:>5} {args.width:5} {args.columns:7} {blocks:>7} {peaks[-1]:8,.0f} '
            f'{result["seconds"]:8.1f} {maps}',
            flush=True,
        )
    print(f'largest peak {max(peaks):,.0f} MB (target {TARGET:,}, {"met" if max(peaks) < TARGET else "NOT MET"})')
    print(f'tile: auto reckons with {PEAK_MAPS} maps')


if __name__ == '__main__':
    main()
