"""Everything that a GPU changes, in one run below eight minutes: `python benchmarks/gpu.py`.

* parity: the scan and the networks against the golden files of `tests/golden`, in float64 and float32;
* the backends of the selective scan: time, and error against the backend `wide` in float64 on the same device;
* forward and training step of DeepRFTv2-B and -S, and of a network of BasicSR, at 256x256 and 512x512, one image,
  in float32, TF32, bfloat16 and channels-last memory: time, and peak memory as torch.cuda.max_memory_allocated has it;
* the memory of a training step of B on one 256x256 patch beside the paper's.

Ends with exit code 1 where parity or the memory is missed, and with 2 where there is no GPU. `--device cpu --tiny` goes
the same way with small networks, to see that it works; `--device cpu --only-networks` times the CPU.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from machine import MB, ROOT, describe
from scan import NAMES, make_inputs, training
from torch import Tensor, nn

from deeprftv2_arch.archs import DeepRFTv2
from deeprftv2_arch.checkpoints.published_keys.deeprftv2 import published_key
from deeprftv2_arch.models.precision import Precision, compile_network
from deeprftv2_arch.nn.selective_scan import available_backends, selective_scan

sys.path.insert(0, str(ROOT / 'tests'))

from published import TOLERANCE, distance, fill, image, load

NETWORKS: dict[str, dict[str, Any]] = {'B': {}, 'S': {'block_types': [['naf'] * 3] * 2}}
PEER = 'MSRResNet'  # of BasicSR: 3x3 convolutions of 64 channels, to which memory layout matters
GOLDEN_SHAPES = {'B': (1, 3, 64, 64), 'S': (2, 3, 96, 80)}
PRECISIONS = {
    'float32': Precision('benchmark', tf32=False),
    'TF32': Precision('benchmark', tf32=True),
    'bfloat16': Precision('benchmark', amp=True, tf32=True),
    'channels last': Precision('benchmark', tf32=False, channels_last=True),
}
PAPER_MEGABYTES = 3439  # table 7: two reversible columns, one 256x256 patch
SCAN_TOLERANCE = 2e-6


@dataclass
class Plan:
    """What is measured: the whole, or the same in small."""

    device: torch.device
    sizes: tuple[int, ...] = (256, 512)
    rounds: int = 5
    scan_steps: int = 65536
    width: int = 48
    blocks: tuple[int, ...] = (1, 4, 8)
    networks: tuple[str, ...] = ('B', 'S', PEER)
    golden: tuple[str, ...] = ('B', 'S')
    precisions: tuple[str, ...] = tuple(PRECISIONS)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    def milliseconds(self, run: Callable[[], object]) -> float:
        """Time of the fastest of some runs, after one that compiles and tunes."""
        times = []
        for _ in range(self.rounds + 1):
            self.synchronize()
            start = time.perf_counter()
            run()
            self.synchronize()
            times.append(time.perf_counter() - start)
        return 1e3 * min(times[1:])

    def peak(self, run: Callable[[], object]) -> float:
        """Megabytes by which a run raises the peak of the GPU's allocator; NaN where there is none."""
        if self.device.type != 'cuda':
            return math.nan
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        run()
        return (torch.cuda.max_memory_allocated(self.device) - before) / MB


def check_parity(plan: Plan) -> bool:
    """Compare the scan's backends and the networks with the golden files."""
    print('Parity with the golden files: largest difference as a part of the largest value')
    good = True

    def row(what: str, dtype: torch.dtype, error: float, tolerance: float) -> None:
        nonlocal good
        good &= error < tolerance
        verdict = 'ok' if error < tolerance else 'NOT MET'
        print(
            f'  {what:<12} {str(dtype).removeprefix("torch."):8} {error:8.1e}  < {tolerance:.0e}  {verdict}', flush=True
        )

    golden = {name: torch.from_numpy(array).to(plan.device) for name, array in load('scan').items()}
    u, delta = (golden[f'scan_{name}'].mT for name in ('u', 'delta'))
    b, c = (golden[f'scan_{name}'][:, 0].mT for name in ('B', 'C'))
    arguments = (u, delta, golden['scan_A'], b, c, golden['scan_D'], golden['scan_bias'])
    for dtype in (torch.float64, torch.float32):
        for backend in available_backends(plan.device, dtype):
            y = selective_scan(*(argument.to(dtype) for argument in arguments), backend=backend)
            row(
                backend,
                dtype,
                distance(y.mT.cpu(), load('scan')['scan_out']),
                1e-9 if dtype == torch.float64 else SCAN_TOLERANCE,
            )
    outputs = load('networks')
    for name in plan.golden:
        for dtype in (torch.float64, torch.float32):
            net = fill(DeepRFTv2(**NETWORKS[name]), published_key, dtype).to(plan.device).eval()
            with torch.no_grad():
                full, half = PRECISIONS['float32'].run(
                    net, image(1001, *GOLDEN_SHAPES[name]).to(plan.device, dtype), return_all=True
                )
            errors = [
                distance(output[..., ::4, ::4].cpu(), outputs[f'{name}.eval_{key}{index}'])
                for key, scale in (('img', full), ('mid', half))
                for index, output in enumerate(scale)
            ]
            row(f'DeepRFTv2-{name}', dtype, max(errors), TOLERANCE[dtype])
    return good


def compare_scans(plan: Plan) -> bool:
    """Time every backend of the scan, and compare values and gradients with those of ``wide`` in float64."""
    u, delta, a, b, c, d, bias = make_inputs()
    sequences = [x[:, : plan.scan_steps] for x in (u, delta, b, c)]
    inputs = [x.to(plan.device) for x in (*sequences[:2], a, *sequences[2:], d, bias)]
    dy = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1)).to(plan.device)

    def results(backend: str, dtype: torch.dtype) -> list[Tensor]:
        leaves = [x.to(dtype).requires_grad_() for x in inputs]
        y = selective_scan(*leaves, backend=backend)
        return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(dtype))]

    exact = results('wide', torch.float64)

    def measure(backend: str) -> float:
        """Print the row of a backend and return its largest error."""
        pairs = zip(results(backend, torch.float32), exact, strict=True)
        errors = [float((ours.double() - true).abs().max() / true.abs().max()) for ours, true in pairs]
        worst, name = max(zip(errors, ('y', *(f'd{name}' for name in NAMES)), strict=True))
        leaves = [x.clone().requires_grad_() for x in inputs]
        with torch.no_grad():
            forward = plan.milliseconds(lambda: selective_scan(*inputs, backend=backend))
        both = plan.milliseconds(lambda: training(leaves, dy, backend))
        memory = plan.peak(lambda: training(leaves, dy, backend))
        print(f'  {backend:<10} {forward:10.2f} {both:17.2f} {memory:7.0f} {worst:8.1e}  {name}', flush=True)
        return worst

    backends = [name for name in available_backends(plan.device) if name != 'reference']
    print(f'\nSelective scan, {inputs[0].shape[2]} features x {plan.scan_steps} steps x {a.shape[1]} states, float32')
    print(f'  {"backend":<10} {"forward ms":>10} {"with backward ms":>17} {"MB":>7} {"error":>8}  worst of')
    good = max(map(measure, backends)) < SCAN_TOLERANCE
    print(f'  the automatic choice is {backends[0]}; errors stay below {SCAN_TOLERANCE:.0e}: {"yes" if good else "NO"}')
    return good


def compare_precisions(plan: Plan, compiled: bool) -> bool:
    """Time and memory of the networks, by size and precision."""
    print(f'\nNetworks of width {plan.width}, one image{", blocks compiled" if compiled else ""}')
    columns = ('forward ms', 'MB', 'training step ms', 'MB')
    print(f'  {"network":<9} {"size":>4} {"run in":<13} ' + ' '.join(f'{name:>{len(name) + 3}}' for name in columns))
    good = True
    for name in plan.networks:
        for size in plan.sizes:
            for label in plan.precisions:
                precision = PRECISIONS[label]
                torch.manual_seed(0)
                net = build(name, plan)
                if precision.channels_last:
                    net.to(memory_format=torch.channels_last)
                if compiled:
                    compile_network(net)
                forward, step = runs(net, precision, torch.rand(1, 3, size, size, device=plan.device))
                try:
                    figures = [figure for run in (forward, step) for figure in (plan.milliseconds(run), plan.peak(run))]
                except torch.OutOfMemoryError:
                    print(f'  {name:<9} {size:4} {label:<13} does not fit in the memory of this GPU', flush=True)
                    continue
                formatted = ' '.join(f'{value:{len(key) + 3},.0f}' for key, value in zip(columns, figures, strict=True))
                print(f'  {name:<9} {size:4} {label:<13} {formatted}', flush=True)
                if (name, size, label, plan.device.type) == ('B', 256, 'float32', 'cuda'):
                    # Weights and their gradients are there before and after; the paper counts the whole GPU.
                    whole = figures[3] + sum(2 * parameter.nbytes for parameter in net.parameters()) / MB
                    good = whole <= PAPER_MEGABYTES
                    print(
                        f'  a training step of B on one 256x256 patch: {whole:,.0f} MB with weights and gradients '
                        f'(target {PAPER_MEGABYTES:,}, {"met" if good else "NOT MET"})'
                    )
    return good


def build(name: str, plan: Plan) -> nn.Module:
    """A network of the plan on its device."""
    if name == PEER:
        # Not at the top: BasicSR can be imported once our package has patched it.
        from basicsr.archs.srresnet_arch import MSRResNet

        return MSRResNet(num_block=2 * max(plan.blocks)).to(plan.device)
    return DeepRFTv2(width=plan.width, num_blocks=plan.blocks, **NETWORKS[name]).to(plan.device)


def runs(net: nn.Module, precision: Precision, image: Tensor) -> tuple[Callable[[], None], Callable[[], None]]:
    """A forward pass in evaluation mode and a training step without the optimizer."""

    @torch.no_grad()
    def forward() -> None:
        precision.run(net.eval(), image)

    def step() -> None:
        supervised = {'return_all': True} if isinstance(net, DeepRFTv2) else {}
        outputs = precision.run(net.train(), image, **supervised)
        sum(output.abs().mean() for images in outputs for output in images).backward()

    return forward, step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda', help='cuda, cuda:1, ..., cpu')
    parser.add_argument('--tiny', action='store_true', help='small networks and images, each run once')
    parser.add_argument('--compile', action='store_true', help='compile the blocks of the networks: some minutes more')
    parser.add_argument('--only-networks', action='store_true', help='neither parity nor the scan')
    parser.add_argument('--networks', nargs='+', choices=(*NETWORKS, PEER), default=[*NETWORKS, PEER])
    parser.add_argument('--sizes', nargs='+', type=int, default=[256, 512], help='sides of the images in pixels')
    parser.add_argument('--precisions', nargs='+', choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument('--rounds', type=int, default=5, help='runs of which the fastest counts')
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == 'cuda' and not torch.cuda.is_available():
        print('benchmarks/gpu.py: torch finds no GPU here. To try the benchmark: --device cpu --tiny', file=sys.stderr)
        return 2
    sizes, networks, precisions = (tuple(given) for given in (args.sizes, args.networks, args.precisions))
    plan = Plan(device, sizes, args.rounds, networks=networks, precisions=precisions)
    if args.tiny:
        plan = Plan(device, sizes=(16, 32), rounds=1, scan_steps=100, width=4, blocks=(1, 0, 0), golden=('S',))
    start = time.perf_counter()
    print(describe(args.device))
    parts = [check_parity, compare_scans] * (not args.only_networks)
    good = [part(plan) for part in parts] + [compare_precisions(plan, args.compile)]
    print(f'{time.perf_counter() - start:.0f} seconds in all')
    return 0 if all(good) else 1


if __name__ == '__main__':
    sys.exit(main())
