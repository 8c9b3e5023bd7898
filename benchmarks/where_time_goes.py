"""Where the time of a forward pass goes, by kind of work: `python benchmarks/where_time_goes.py [S | B]`.

The main thread's own time in every torch operation, on one 256x256 image in float32, as the profiler of torch sees it.
The scan and the fused passes are no torch operations: their time is measured around their calls in passes without the
profiler. What the profiler costs itself is part of the sum, so the parts count, not the seconds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from types import ModuleType

import torch
from machine import describe, seconds
from network import networks
from torch.profiler import ProfilerActivity, profile

from deeprftv2_arch.nn import fused, vsblock

KINDS = {
    'matrix products (1x1 convolutions, linear layers)': ('mm', 'addmm', 'bmm', 'baddbmm'),
    'other convolutions, most of them depthwise': ('mkldnn_convolution', '_slow_conv2d_forward', 'conv_depthwise3d'),
    'copies (biases, layouts, concatenations)': ('copy_', 'cat', 'flip', 'pixel_shuffle', 'constant_pad_nd'),
    'layer norms': ('native_layer_norm',),
    'GELU': ('gelu',),
    'gates, scalings, sums': ('mul', 'add', 'addcmul', 'sum', 'mean', 'mul_', 'add_'),
    'Fourier transforms': ('_fft_r2c', '_fft_c2r', '_fft_c2c'),
}


def seconds_inside(module: ModuleType, function: str, net: torch.nn.Module, image: torch.Tensor) -> float:
    """Time inside one function of a module during one pass."""
    original, total = getattr(module, function), 0.0

    def timed(*inputs: object) -> object:
        nonlocal total
        results = []
        total += seconds(lambda: results.append(original(*inputs)))
        return results[0]

    setattr(module, function, timed)
    try:
        net(image)
    finally:
        setattr(module, function, original)
    return total


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('network', nargs='*', default=['S', 'B'], help='S, B')
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f'{describe()}; {args.size}x{args.size}, float32')
    kind_of = {operation: kind for kind, operations in KINDS.items() for operation in operations}
    for name in args.network:
        net, image = networks(False)[name]().eval(), torch.rand(1, 3, args.size, args.size)
        net(image)
        compiled = {
            'selective scan': seconds_inside(vsblock, 'selective_scan', net, image),
            'fused passes (depthwise, gates, GELU, norms)': seconds_inside(fused, 'run_rows', net, image),
        }
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            net(image)
        times: dict[str, float] = defaultdict(float)
        for event in profiler.key_averages():
            kind = kind_of.get(event.key.removeprefix('aten::'), 'all else')
            times[kind] += event.self_cpu_time_total / 1e6
        times.update(compiled)
        total = sum(times.values())
        print(f'{name}: {total:.2f} s with the profiler')
        for kind, taken in sorted(times.items(), key=lambda item: -item[1]):
            print(f'  {kind:50} {taken:6.2f} s {taken / total:5.0%}')


if __name__ == '__main__':
    main()
