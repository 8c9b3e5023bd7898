"""Where the time of a forward pass goes, by kind of work: `python benchmarks/where_time_goes.py [S | B]`.

With `--train`, that of a training step. Counted is the main thread's own time in every operation, on one 256x256 image
in float32, as the profiler of torch sees it. What the profiler costs itself is part of the sum, so the parts count, not
the seconds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import torch
from machine import describe
from network import forward, networks, step
from torch.profiler import ProfilerActivity, profile, record_function

from deeprftv2_arch.nn import vsblock

FUSED = ('NormExpandDepthwise', 'Update', 'FeedForward', 'GatedUpdate')
KINDS = {
    'fused passes (norms, products, depthwise, gates)': FUSED + tuple(f'{name}Backward' for name in FUSED),
    'selective scan': ('scan', '_NumbaScan', '_NumbaScanBackward', '_WideScan', '_WideScanBackward'),
    'other matrix products': ('mm', 'addmm', 'bmm', 'baddbmm'),
    'other convolutions': ('mkldnn_convolution', 'convolution_backward', '_slow_conv2d_forward', 'conv_depthwise3d'),
    'copies (biases, layouts, concatenations)': ('copy_', 'cat', 'flip', 'pixel_shuffle', 'pixel_unshuffle', 'fill_'),
    'layer norms': ('native_layer_norm', 'native_layer_norm_backward'),
    'scalings, sums': ('mul', 'add', 'addcmul', 'sum', 'mean', 'mul_', 'add_', 'div', 'sub'),
    'Fourier transforms': ('_fft_r2c', '_fft_c2r', '_fft_c2c'),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('network', nargs='*', default=['S', 'B'], help='S, B')
    parser.add_argument('--train', action='store_true', help='a training step instead of a forward pass')
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    what = 'training step' if args.train else 'forward pass'
    print(f'{describe()}; {what}, {args.size}x{args.size}, float32')
    # Without autograd the scan is no operation that the profiler knows.
    vsblock.selective_scan = record_function('scan')(vsblock.selective_scan)
    kind_of = {operation: kind for kind, operations in KINDS.items() for operation in operations}
    for name in args.network:
        net, image = networks(False)[name](), torch.rand(1, 3, args.size, args.size)
        work = step if args.train else forward
        work(net, image)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            work(net, image)
        times: dict[str, float] = defaultdict(float)
        for event in profiler.key_averages():
            kind = kind_of.get(event.key.removeprefix('aten::'), 'all else')
            times[kind] += event.self_cpu_time_total / 1e6
        total = sum(times.values())
        print(f'{name}: {total:.2f} s with the profiler')
        for kind, taken in sorted(times.items(), key=lambda item: -item[1]):
            print(f'  {kind:50} {taken:6.2f} s {taken / total:5.0%}')


if __name__ == '__main__':
    main()
