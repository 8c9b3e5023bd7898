"""Memory of restoring an image, whole and in tiles: `python benchmarks/large_images.py`.

Every image is restored by DeepRFTv2-B in a process of its own. Printed is by how much that raises the peak of the
process; and, for whole images, the same as a number of full-resolution maps of the first level's width, on which
`tile: auto` builds its estimate. The allocator is told to give freed memory back at once.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MB = 2**20
WIDTH = 48


def resident(key: str) -> int:
    """A size of this process in bytes: ``VmRSS`` now, ``VmHWM`` at its peak."""
    with open('/proc/self/status') as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) * 1024


def restore(height: int, width: int, tile: int) -> None:
    """Measure one image and print the result as JSON; a tile of 0 is the whole image."""
    import torch

    import deeprftv2_arch  # noqa: F401
    from deeprftv2_arch.archs import DeepRFTv2

    net = DeepRFTv2(width=WIDTH, tile=tile or None).eval()
    with torch.no_grad():
        net(torch.rand(1, 3, 64, 64))  # compiles the scan
        image = torch.rand(1, 3, height, width)
        Path('/proc/self/clear_refs').write_text('5')
        before, start = resident('VmRSS'), time.perf_counter()
        net(image)
    print(json.dumps({'peak': resident('VmHWM') - before, 'seconds': time.perf_counter() - start}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--images',
        nargs='+',
        default=['256x256/0', '512x512/0', '720x1280/512', '3456x4600/512'],
        metavar='HxW/TILE',
        help='images to restore; tile 0 is the whole image',
    )
    parser.add_argument('--one', nargs=3, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        restore(*args.one)
        return
    environment = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '262144', 'MALLOC_TRIM_THRESHOLD_': '262144'}
    print(f'{"image":>10} {"tile":>5} {"peak MB":>8} {"seconds":>8} {"maps":>6}')
    for image in args.images:
        size, tile = image.split('/')
        height, width = map(int, size.split('x'))
        command = [sys.executable, __file__, '--one', str(height), str(width), tile]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        result = json.loads(done.stdout.splitlines()[-1])
        maps = f'{result["peak"] / (height * width * WIDTH * 4):6.1f}' if tile == '0' else ''
        print(f'{size:>10} {tile:>5} {result["peak"] / MB:8,.0f} {result["seconds"]:8.1f} {maps}', flush=True)


if __name__ == '__main__':
    main()
