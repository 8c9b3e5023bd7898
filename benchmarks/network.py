"""Speed and memory of the networks on the CPU beside their peers, in one run: `python benchmarks/network.py`.

Needs `pip install --no-deps spandrel safetensors einops` for NAFNet and FFTformer. All networks run in turns on one
256x256 image in float32, and the fastest run of each counts. The rate of the machine is that of a large matrix product
with the same threads, the physical limit of every convolution here. A training step is counted as three times the
operations of a forward pass (forward, gradients of the maps, gradients of the weights); what reversible columns
compute again is not counted as work. The peak memory is that of a process of its own for every figure: by how much one
forward pass, or one training step, raises its resident size; weights and their gradients are not counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from machine import (
    GIVES_FREED_MEMORY_BACK,
    MB,
    describe,
    fastest_in_turns,
    in_own_process,
    matrix_rate,
    peak_growth,
)
from torch import nn

import deeprftv2_arch  # noqa: F401
from deeprftv2_arch.analysis.complexity import measure
from deeprftv2_arch.archs import DeepRFTv2

PLAIN = [['naf'] * 3] * 2
# What is divided by what, and the ratio to reach.
FORWARD_TARGETS = (('S', 'NAFNet-w64', 1.4), ('B', 'NAFNet-w64', 2.6), ('B', 'FFTformer', 0.16))
STEP_TARGETS = (('S', 4.5), ('B', 4.5))
# A step of FFTformer takes more than a minute.
TRAINED = ('S', 'B', 'NAFNet-w64')


def networks(peers: bool) -> dict[str, Callable[[], nn.Module]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], nn.Module]] = {
        'S': lambda: DeepRFTv2(block_types=PLAIN),
        'B': DeepRFTv2,
    }
    if peers:
        try:
            from spandrel.architectures.FFTformer import FFTformer
            from spandrel.architectures.NAFNet import NAFNet
        except ImportError as error:
            print(f'No peers ({error}): pip install --no-deps spandrel safetensors einops')
            return found
        found['NAFNet-w64'] = lambda: NAFNet(
            width=64, middle_blk_num=1, enc_blk_nums=[1, 1, 1, 28], dec_blk_nums=[1, 1, 1, 1]
        )
        found['FFTformer'] = FFTformer
    return found


def forward(net: nn.Module, image: torch.Tensor) -> None:
    with torch.no_grad():
        net.eval()(image)


def step(net: nn.Module, image: torch.Tensor) -> None:
    """Forward and backward of a loss over everything that is supervised."""
    net.train().zero_grad()
    outputs = net(image, return_all=True) if isinstance(net, DeepRFTv2) else [[net(image)]]
    sum(output.abs().mean() for images in outputs for output in images).backward()


def print_peak(name: str, work: Callable[[nn.Module, torch.Tensor], None], size: int) -> None:
    """Bytes by which a first run raises the peak of this process, as JSON."""
    net = networks(True)[name]()
    work(net, torch.rand(1, 3, 32, 32))  # compiles, and makes the gradients
    image = torch.rand(1, 3, size, size)
    print(json.dumps(peak_growth(lambda: work(net, image))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=4)
    parser.add_argument('--no-peers', action='store_true', help='leave NAFNet and FFTformer out')
    parser.add_argument('--no-training', action='store_true', help='leave the training steps out')
    parser.add_argument('--peak', nargs=2, metavar=('NETWORK', 'WORK'), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print_peak(args.peak[0], {'forward': forward, 'step': step}[args.peak[1]], args.size)
        return
    makers = networks(not args.no_peers)
    nets = {name: make() for name, make in makers.items()}
    macs = {name: measure(make(), args.size, args.size).macs for name, make in makers.items()}
    image = torch.rand(1, 3, args.size, args.size)
    print(f'{describe()}; {args.size}x{args.size}, float32')
    for name in nets:
        forward(nets[name], image)
    rate = matrix_rate()
    print(f'matrix product: {rate / 1e9:.0f} GFLOP/s')

    def table(
        title: str, work: Callable[[nn.Module, torch.Tensor], None], names: list[str], rounds: int, passes: int
    ) -> dict[str, float]:
        for name in names:
            work(nets[name], torch.rand(1, 3, 32, 32))  # compiles
        times = fastest_in_turns(lambda name: work(nets[name], image), names, rounds)
        print(f'{title:14} {"seconds":>8} {"GMACs":>7} {"s/GMAC":>7} {"GFLOP/s":>8} {"of the rate":>11} {"peak MB":>8}')
        for name in names:
            gmacs = passes * macs[name] / 1e9
            options = ('--size', args.size, '--threads', args.threads, '--peak', name, work.__name__)
            peak = in_own_process(__file__, *options, environment=GIVES_FREED_MEMORY_BACK) / MB
            print(
                f'{name:14} {times[name]:8.2f} {gmacs:7.1f} {times[name] / gmacs:7.4f} {2 * gmacs / times[name]:8.0f} '
                f'{2e9 * gmacs / times[name] / rate:11.0%} {peak:8,.0f}',
                flush=True,
            )
        return times

    def judge(what: str, ratio: float, target: float) -> None:
        print(f'{what}: {ratio:.2f} (target {target}, {"met" if ratio <= target else "not met"})')

    times = table('forward', forward, list(nets), args.rounds, 1)
    steps = {}
    if not args.no_training:
        trained = [name for name in nets if name in TRAINED]
        steps = table('training step', step, trained, max(args.rounds // 2, 1), 3)
    for name, other, target in FORWARD_TARGETS:
        if other in times:
            judge(f'forward, {name} / {other}', times[name] / times[other], target)
    for name, target in STEP_TARGETS:
        if steps:
            judge(f'training step / forward, {name}, reversible', steps[name] / times[name], target)


if __name__ == '__main__':
    main()
