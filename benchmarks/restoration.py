"""Two facts about `deeprftv2 restore`: `python benchmarks/restoration.py memory`, `... guard PHOTOGRAPHS`.

`memory`: by how much restoring a photograph raises the peak of a process, per pixel, without what the network needs.
Its network is the identity, and the slope between two sizes leaves out what does not grow.

`guard`: what a perfect restoration does to the numbers that `restoration.guard` sets its limits for. Sharp photographs
are blurred in linear light by straight motion; the sharp one then stands for the output, the blurred one for the input.
Printed is the largest value over all blocks of all photographs, beside the limit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from machine import GIVES_FREED_MEMORY_BACK, describe, in_own_process, peak_growth
from PIL import Image
from torch import nn
from torch.nn import functional as F

import deeprftv2_arch  # noqa: F401

# isort: split
from deeprftv2_arch.data.photograph_folder import read_photograph
from deeprftv2_arch.data.synthesis.camera import decode_light, linear_to_srgb, to_uint8
from deeprftv2_arch.restoration import guard
from deeprftv2_arch.restoration.batch import Job, Output, restore_all
from deeprftv2_arch.restoration.evaluation.pairs import images_in
from deeprftv2_arch.restoration.network import RestorationNetwork
from deeprftv2_arch.restoration.restorer import Restorer

SIDES = (1000, 2500)
KINDS = ('jpg', '16 bits.png')
LENGTHS = (15, 25, 45)
LONG_SIDE = 1152


def restore_one(kind: str, side: int) -> None:
    """Restore one square photograph and print the growth of the peak as JSON."""
    restorer = Restorer(RestorationNetwork(nn.Identity(), 'identity', 1, 3, cost=1), 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / f'source.{kind}', Path(folder) / f'target.{kind}'
        pixels = cv2.resize(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), (side, side))
        cv2.imwrite(str(source), pixels.astype(np.uint16) * 257 if kind.startswith('16') else pixels)
        del pixels

        def run(job: Job) -> None:
            done = restore_all(
                [job],
                restorer,
                Output(overwrite=True),
                strength=1,
                on_suspect='blend',
                tell=lambda line: None,
                progress_of=lambda job: lambda done, total: None,
            )
            assert not done.failed

        small = Path(folder) / f'small.{kind}'
        Image.new('RGB', (64, 64)).save(small)
        run(Job(small, target))  # loads the libraries
        print(json.dumps(peak_growth(lambda: run(Job(source, target)))))


def memory() -> None:
    """Print bytes per pixel for every kind of file."""
    print(describe())
    print('| file | bytes per pixel |')
    print('|:-----|----------------:|')
    for kind in KINDS:
        small, large = (
            in_own_process(__file__, 'one', kind, side, environment=GIVES_FREED_MEMORY_BACK) for side in SIDES
        )
        print(f'| {kind} | {(large - small) / (SIDES[1] ** 2 - SIDES[0] ** 2):.0f} |', flush=True)


def motion(length: int, angle: float) -> np.ndarray:
    """The kernel of straight motion: (k, k), k odd, sum 1."""
    side = length + (length + 1) % 2 + 2
    centre = side / 2 - 0.5
    reach = np.array([np.cos(angle), np.sin(angle)]) * (length - 1) / 2
    kernel = np.zeros((side, side), np.float32)
    ends = [tuple(np.rint((centre + sign * reach) * 16).astype(int).tolist()) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()


def largest(blurred: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """The largest values over the blocks of one photograph, in the order of `guard_limits`."""
    image, output = (torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 for x in (blurred, sharp))
    shift, change, low, high, detail_before, detail = guard._statistics(image, output)
    contrast = guard._largest_around(high) + guard._largest_around(-low)
    excess = (change - guard.COLOUR) / contrast.clamp(min=1e-6)
    wide = F.avg_pool2d(shift, 3, 1, 1, count_include_pad=False).abs()
    most = contrast[:, :3].amax(1, keepdim=True)
    new_detail = detail[detail > guard.DETAIL_OF_INPUT * detail_before]
    finer = ((detail - guard.DETAIL) / most.clamp(min=1e-6))[detail > guard.DETAIL_OF_INPUT * detail_before]
    whole = shift[:, :3].mean((2, 3)).abs()
    found = (excess[:, :3], excess[:, 3:], wide, finer, new_detail, whole)
    return np.array([values.max().item() if values.numel() else 0 for values in found])


def measure_guard(folder: Path) -> None:
    """Print what perfect restorations reach, and how many of them the guard would stop."""
    limits = {
        f'(change - {guard.COLOUR}) / contrast of a colour': guard.COLOUR_BY_CONTRAST[0],
        f'(change - {guard.COLOUR}) / contrast of the difference of two colours': guard.COLOUR_BY_CONTRAST[-1],
        'change of the mean of 3x3 blocks': guard.COLOUR_WIDE,
        f'(new detail - {guard.DETAIL}) / contrast': guard.DETAIL_BY_CONTRAST,
        'new detail': guard.DETAIL_MOST,
        'change of the mean of the photograph': guard.SHIFT,
    }
    paths = images_in(folder)
    columns, stopped = [], []
    for length in LENGTHS:
        reached, count = np.full(len(limits), -np.inf), 0
        for number, path in enumerate(paths):
            sharp = read_photograph(path, LONG_SIDE)
            blurred = cv2.filter2D(decode_light(sharp), -1, motion(length, np.pi * number / len(paths)))
            blurred = to_uint8(linear_to_srgb(np.clip(blurred, 0, 1)))
            reached = np.maximum(reached, largest(blurred, sharp))
            image, output = (torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 for x in (blurred, sharp))
            count += bool(guard.compare(image, output))
        columns.append(reached)
        stopped.append(count)
    print(f'{len(paths)} photographs')
    print(f'| motion of | {" | ".join(f"{length} pixels" for length in LENGTHS)} | limit |')
    print(f'|:---|{"---:|" * len(LENGTHS)}---:|')
    for row, (name, limit) in enumerate(limits.items()):
        print(f'| {name} | {" | ".join(f"{column[row]:.2f}" for column in columns)} | {limit} |')
    print(f'| photographs that would be named | {" | ".join(map(str, stopped))} | |')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest='what', required=True)
    what.add_parser('memory')
    what.add_parser('guard').add_argument('folder', type=Path, help='sharp photographs')
    one = what.add_parser('one')
    one.add_argument('kind')
    one.add_argument('side', type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.what == 'one':
        restore_one(args.kind, args.side)
    elif args.what == 'memory':
        memory()
    else:
        measure_guard(args.folder)


if __name__ == '__main__':
    main()
