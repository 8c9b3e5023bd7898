"""Crops of 128x128 that are synthesized in a second on one core: `python benchmarks/blur_synthesis.py FOLDER`.

The time is that of the data set as a training meets it. Decoded photographs are kept in memory after the first turn
through them, so that turn is shown apart. The last lines show each kind of blur alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import cv2
import torch
from machine import describe

import deeprftv2_arch  # noqa: F401

# isort: split
from deeprftv2_arch.data import SynthesizedBlurDataset
from deeprftv2_arch.data.sampling import Sample
from deeprftv2_arch.data.synthesis.blurs import KINDS

TARGET = 60


def rate(data: SynthesizedBlurDataset, crops: int) -> float:
    """Crops per second of CPU time."""
    begin = time.process_time()
    for number in range(crops):
        data[Sample(number % len(data), None, number)]
    return crops / (time.process_time() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='sharp photographs')
    parser.add_argument('--crops', type=int, default=300, help='crops for each line')
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    options = {'name': 'photographs', 'type': 'SynthesizedBlurDataset', 'dataroot_gt': arguments.folder}
    data = SynthesizedBlurDataset({**options, 'phase': 'train', 'gt_size': 128})
    print(describe())
    print(f'{len(data)} photographs; crops a second of CPU time on one thread')
    print(f'first turn, decoding: {rate(data, len(data)):6.1f}')
    decoded = rate(data, arguments.crops)
    print(
        f'decoded photographs:  {decoded:6.1f}  ({"reaches" if decoded >= TARGET else "misses"} the target of {TARGET})'
    )
    for kind in KINDS:
        shares = {f'share_{name}': float(name == kind) for name in KINDS}
        data.settings = dataclasses.replace(data.settings, **shares)
        print(f'{kind + ":":21} {rate(data, arguments.crops):6.1f}')


if __name__ == '__main__':
    main()
