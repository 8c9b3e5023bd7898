"""Memory of one training step, reversible against plain: `python benchmarks/memory.py`.

Every configuration runs in a process of its own. Printed are the bytes that autograd holds between forward and
backward, and by how much the step raises the peak of the process (of the GPU, with --device cuda). Weights and their
gradients are not counted. On the CPU the allocator is told to give freed memory back at once.
"""

from __future__ import annotations

import argparse
import json

import torch
from machine import GIVES_FREED_MEMORY_BACK, MB, describe, in_own_process, peak_growth

import deeprftv2_arch  # noqa: F401
from deeprftv2_arch.archs import DeepRFTv2

TARGET_RATIO, TARGET_GROWTH = 0.29, 0.10
PAPER = {(1, False): 6120, (2, False): 12027, (1, True): 3116, (2, True): 3439}


def step(columns: int, reversible: bool, size: int, device: str) -> None:
    """Measure one training step of B and print the result as JSON."""
    net = DeepRFTv2(num_columns=columns, reversible=reversible).to(device)

    def run(pixels: int) -> int:
        held = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs = net(torch.rand(1, 3, pixels, pixels, device=device), return_all=True)
            loss = sum(output.abs().mean() for images in outputs for output in images)
        loss.backward()
        return sum(held.values())

    run(32)  # compiles the scan
    net.zero_grad()
    weights = sum(parameter.nbytes for parameter in net.parameters())
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        held = run(size)
        peak = torch.cuda.max_memory_allocated() - before
    else:
        held = 0

        def measured() -> None:
            nonlocal held
            held = run(size)

        peak = peak_growth(measured)
    print(json.dumps({'held': held - weights, 'peak': peak - weights}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--size', type=int, default=256, help='side of the patch in pixels')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--step', nargs=2, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args.step[0], bool(args.step[1]), args.size, args.device)
        return
    print(describe(args.device))
    print(f'Training step of DeepRFTv2-B on one {args.size}x{args.size} patch, float32; MB')
    print(
        f'{"columns":>8} {"reversible":>11} {"held for backward":>18} {"peak of the step":>17} {"paper, whole GPU":>17}'
    )
    peaks, helds = {}, {}
    for columns, reversible in PAPER:
        options = ('--size', args.size, '--device', args.device, '--step', columns, int(reversible))
        result = in_own_process(__file__, *options, environment=GIVES_FREED_MEMORY_BACK)
        helds[columns, reversible], peaks[columns, reversible] = result['held'], result['peak']
        print(
            f'{columns:8d} {"yes" if reversible else "no":>11} {result["held"] / MB:18,.0f} '
            f'{result["peak"] / MB:17,.0f} {PAPER[columns, reversible]:17,d}',
            flush=True,
        )
    for name, values in (('held', helds), ('peak', peaks)):
        ratio = values[2, True] / values[2, False]
        growth = values[2, True] / values[1, True] - 1
        print(
            f'{name}: reversible / plain with two columns {ratio:.3f} (target {TARGET_RATIO}); '
            f'from one column to two {growth:+.1%} (target {TARGET_GROWTH:+.0%})'
        )


if __name__ == '__main__':
    main()
