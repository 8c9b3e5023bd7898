"""Short trainings on photographs, compared at equal time: `python benchmarks/photo_recipes.py FOLDER HELD_ASIDE`.

Every candidate trains on one thread for the same CPU seconds, data included, with its learning rate on a cosine to
zero over that time, and is then measured on the same pairs of photographs held aside, blurred alike.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from machine import describe
from torch.nn import functional as F

import deeprftv2_arch  # noqa: F401

# isort: split
from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.data import SynthesizedBlurDataset
from deeprftv2_arch.data.sampling import Sample
from deeprftv2_arch.losses.frequency_loss import FrequencyLoss
from deeprftv2_arch.models.supervision import supervise

NAF = [['naf'] * 3] * 2
MIXED = [['naf', 'nafevs', 'nafevs'], ['naf'] * 3]


@dataclass(frozen=True)
class Candidate:
    """What is tried: arguments of the network, crop and batch, optimizer."""

    network: dict[str, Any]
    crop: int = 96
    batch: int = 4
    rate: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.9)
    clip: float = 0.01
    ema: float = 0.99
    data: dict[str, Any] = field(default_factory=dict)


def small(width: int, blocks: list[int], types: list[list[str]] | None = None, **more: Any) -> dict[str, Any]:
    types = types or [['naf'] * len(blocks)] * 2
    base = {'num_columns': 1, 'reversible': False, 'zero_init_tails': True}
    return {**base, 'width': width, 'num_blocks': blocks, 'block_types': types, **more}


CANDIDATES = {
    'w24 112': Candidate(small(24, [1, 1, 2])),
    'w24 112, no FKE': Candidate(small(24, [1, 1, 2], fke=False)),
    'w24 112, nafevs': Candidate(small(24, [1, 1, 2], MIXED)),
    'w24 124': Candidate(small(24, [1, 2, 4])),
    'w24 1112': Candidate(small(24, [1, 1, 1, 2])),
    'w32 124': Candidate(small(32, [1, 2, 4])),
    'w16 112, 2 columns': Candidate(small(16, [1, 1, 2], num_columns=2)),
    'w24 112, lr 4e-3': Candidate(small(24, [1, 1, 2]), rate=4e-3),
    'w24 112, lr 1e-3': Candidate(small(24, [1, 1, 2]), rate=1e-3),
    'w24 112, clip 0.1': Candidate(small(24, [1, 1, 2]), clip=0.1),
    'w24 112, betas 0.9 0.99': Candidate(small(24, [1, 1, 2]), betas=(0.9, 0.99)),
    'w24 112, batch 2': Candidate(small(24, [1, 1, 2]), batch=2),
    'w24 112, batch 8': Candidate(small(24, [1, 1, 2]), batch=8),
    'w24 112, crop 64, batch 8': Candidate(small(24, [1, 1, 2]), crop=64, batch=8),
    'w24 112, crop 128, batch 2': Candidate(small(24, [1, 1, 2]), crop=128, batch=2),
    'w24 112, FKE windows 32': Candidate(small(24, [1, 1, 2], fke_window=32, fke_overlap=8)),
}


def open_data(folder: str, crop: int, **more: Any) -> SynthesizedBlurDataset:
    options = {'name': folder, 'type': 'SynthesizedBlurDataset', 'dataroot_gt': folder, 'gt_size': crop}
    return SynthesizedBlurDataset({**options, 'phase': 'train', **more})


def draw(data: SynthesizedBlurDataset, number: int, seed: int) -> dict[str, Any]:
    """The pair of a number: photographs in turns, each time another crop and blur."""
    return data[Sample(number % len(data), None, seed + number)]


def train(candidate: Candidate, folder: str, budget: float) -> tuple[DeepRFTv2, int]:
    """Train for a time; return the mean of the weights and how many steps there was time for."""
    torch.manual_seed(0)
    network = DeepRFTv2(**candidate.network).train()
    mean = copy.deepcopy(network).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), candidate.rate, candidate.betas, weight_decay=1e-3)
    criteria = {'l_pix': F.l1_loss, 'l_fft': FrequencyLoss(loss_weight=0.01)}
    data = open_data(folder, candidate.crop, **candidate.data)
    number, steps, begin = 1 << 32, 0, time.process_time()
    while (spent := (time.process_time() - begin) / budget) < 1:
        pairs = [draw(data, number + place, 0) for place in range(candidate.batch)]
        number += candidate.batch
        lq, gt = (torch.stack([pair[side] for pair in pairs]) for side in ('lq', 'gt'))
        for group in optimizer.param_groups:
            group['lr'] = candidate.rate * (1 + math.cos(math.pi * spent)) / 2
        optimizer.zero_grad()
        torch.stack(list(supervise(criteria, network(lq, return_all=True), gt).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), candidate.clip)
        optimizer.step()
        steps += 1
        with torch.no_grad():
            for average, weight in zip(mean.parameters(), network.parameters(), strict=True):
                average.lerp_(weight, 1 - candidate.ema)
    return mean, steps


def psnr(image: torch.Tensor, target: torch.Tensor) -> float:
    error = (image.mul(255).round().clamp(0, 255) - target.mul(255).round()).square().mean()
    return float(10 * torch.log10(255**2 / error))


@torch.no_grad()
def gain(network: DeepRFTv2, held_aside: str) -> tuple[float, float]:
    """The mean gain in dB over the blurred image, and the least."""
    data = open_data(held_aside, 256, return_kernel=False)
    gains = []
    for number in range(len(data)):
        pair = draw(data, number, 0)
        lq, gt = pair['lq'][None], pair['gt'][None]
        gains.append(psnr(network(lq), gt) - psnr(lq, gt))
    return float(np.mean(gains)), min(gains)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='photographs to train on')
    parser.add_argument('held_aside', help='photographs to measure on')
    parser.add_argument('--seconds', type=float, default=300, help='CPU seconds for each candidate')
    parser.add_argument('--only', nargs='*', default=list(CANDIDATES), help='candidates by name')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(describe())
    print('| candidate | parameters | steps | mean gain dB | least gain dB |')
    print('|:----------|-----------:|------:|-------------:|--------------:|', flush=True)
    for name in arguments.only:
        network, steps = train(CANDIDATES[name], arguments.folder, arguments.seconds)
        parameters = sum(weight.numel() for weight in network.parameters())
        mean, least = gain(network, arguments.held_aside)
        print(f'| {name} | {parameters / 1e6:.2f} M | {steps} | {mean:+.3f} | {least:+.3f} |', flush=True)


if __name__ == '__main__':
    main()
