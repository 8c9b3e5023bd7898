"""Speed of the networks on the CPU beside their peers, in one run: `python benchmarks/network.py`.

Needs `pip install --no-deps spandrel safetensors einops` for NAFNet and FFTformer. All networks run in turns on one
256x256 image in float32, and the fastest run of each counts. The rate of the machine is that of a large matrix product
with the same threads, the physical limit of every convolution here.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import deeprftv2_arch  # noqa: E402, F401
from deeprftv2_arch.analysis.complexity import measure  # noqa: E402
from deeprftv2_arch.archs import DeepRFTv2  # noqa: E402

MB = 2**20
PLAIN = [['naf'] * 3] * 2
# What is divided by what, and the ratio to reach.
FORWARD_TARGETS = (('S', 'NAFNet-w64', 1.4), ('B', 'NAFNet-w64', 2.6), ('B', 'FFTformer', 0.16))
STEP_TARGET = 4.5


def networks(peers: bool) -> dict[str, Callable[[], nn.Module]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], nn.Module]] = {
        'S': lambda: DeepRFTv2(block_types=PLAIN),
        'B': DeepRFTv2,
    }
    if peers:
        from spandrel.architectures.FFTformer import FFTformer
        from spandrel.architectures.NAFNet import NAFNet

        found['NAFNet-w64'] = lambda: NAFNet(
            width=64, middle_blk_num=1, enc_blk_nums=[1, 1, 1, 28], dec_blk_nums=[1, 1, 1, 1]
        )
        found['FFTformer'] = FFTformer
    return found


def matrix_rate() -> float:
    """Operations per second of a float32 matrix product."""
    a, b = torch.randn(2, 2048, 2048)
    return 2 * 2048**3 / min(seconds(lambda: a @ b) for _ in range(8))


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak(run: Callable[[], object]) -> float:
    """Megabytes by which one run raises the size of the process."""
    Path('/proc/self/clear_refs').write_text('5')

    def resident(key: str) -> int:
        with open('/proc/self/status') as status:
            return next(int(line.split()[1]) for line in status if line.startswith(key)) * 1024

    before = resident('VmRSS')
    run()
    return (resident('VmHWM') - before) / MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=4)
    parser.add_argument('--no-peers', action='store_true', help='leave NAFNet and FFTformer out')
    parser.add_argument('--no-training', action='store_true', help='leave the training steps out')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    makers = networks(not args.no_peers)
    nets = {name: make().eval() for name, make in makers.items()}
    image = torch.rand(1, 3, args.size, args.size)

    @torch.no_grad()
    def forward(name: str) -> None:
        nets[name](image)

    for name in nets:
        forward(name)
    rate = matrix_rate()
    times = {name: min(samples) for name, samples in in_turns(forward, nets, args.rounds).items()}
    macs = {name: measure(make(), args.size, args.size).macs / 1e9 for name, make in makers.items()}
    print(f'{processor()}, {args.threads} threads, torch {torch.__version__}, {args.size}x{args.size}, float32')
    print(f'matrix product: {rate / 1e9:.0f} GFLOP/s')
    print(f'{"forward":12} {"seconds":>8} {"GMACs":>7} {"s/GMAC":>7} {"GFLOP/s":>8} {"of the rate":>11} {"peak MB":>8}')
    for name in nets:
        flops = 2e9 * macs[name] / times[name]
        print(
            f'{name:12} {times[name]:8.2f} {macs[name]:7.1f} {times[name] / macs[name]:7.4f} {flops / 1e9:8.0f} '
            f'{flops / rate:11.0%} {peak(lambda name=name: forward(name)):8.0f}'
        )
    for name, other, target in FORWARD_TARGETS:
        if other in times:
            ratio = times[name] / times[other]
            print(f'{name} / {other}: {ratio:.2f} (target {target}, {"met" if ratio <= target else "not met"})')
    if args.no_training:
        return

    def step(name: str) -> None:
        net = nets[name].train()
        net.zero_grad()
        sum(output.abs().mean() for images in net(image, return_all=True) for output in images).backward()
        net.eval()

    for name, samples in in_turns(step, ('S', 'B'), max(args.rounds // 2, 1)).items():
        ratio = min(samples) / times[name]
        print(
            f'training step {name}, reversible: {min(samples):.2f} s, {ratio:.2f} forwards '
            f'(target {STEP_TARGET}, {"met" if ratio <= STEP_TARGET else "not met"})'
        )


def in_turns(run: Callable[[str], None], names: object, rounds: int) -> dict[str, list[float]]:
    """Seconds of every run, by name; the names take turns."""
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, times in samples.items():
            times.append(seconds(lambda name=name: run(name)))
    return samples


def processor() -> str:
    """Name of the processor."""
    try:
        with open('/proc/cpuinfo') as lines:
            return next(line.split(':')[1].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == '__main__':
    main()
