"""Speed, memory and error of the selective scan on the CPU: `python benchmarks/scan.py`, below three minutes.

96 features, 65,536 steps (a 256x256 image), 8 states, float32. Printed are ratios to work of the same run, as times
wobble from machine to machine and from minute to minute:

* copy floor: the time in which torch copies as many bytes as the scan must read and write, between arrays that are
  larger than any cache and already there;
* exp: eight passes of torch.exp over one of the arrays, about the exponentials of the scan;
* the `wide` backend, which is torch operations only, and the naive loop over the steps.

All are run in turns, and the fastest run of each counts. The allocator is told to keep freed memory: by default glibc
hands large arrays back to the system, whose page faults then cost every new output, whatever computes it; the line
"with page faults" shows the difference. Errors are against `wide` in float64, as parts of the largest value.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import torch
from machine import MB, in_own_process, keep_freed_memory, peak_growth, processor, seconds
from torch import Tensor

from deeprftv2_arch.nn.selective_scan import selective_scan

FEATURES, STEPS, STATES = 96, 65536, 8
NAIVE_STEPS = 512  # the naive loop is timed on these and scaled; its forward is linear in the steps
NAMES = ('u', 'delta', 'A', 'B', 'C', 'D', 'delta_bias')


def make_inputs(trained: bool = False) -> list[Tensor]:
    """Arguments as a fresh network has them, or as wide as trained ones (steps to 3, rates to -24)."""
    g = torch.Generator().manual_seed(0)
    step = torch.empty(FEATURES).uniform_(-6.9, -2.3, generator=g).exp()
    rates = -torch.arange(1.0, STATES + 1).repeat(FEATURES, 1)
    u, delta = torch.randn(2, 1, STEPS, FEATURES, generator=g)
    b, c = torch.randn(2, 1, STEPS, STATES, generator=g)
    bias, delta = step + torch.log(-torch.expm1(-step)), 0.5 * delta
    if trained:
        rates, bias, delta = rates * torch.exp(0.4 * torch.randn(rates.shape, generator=g)), bias + 3, 2.5 * delta
    return [u, delta, rates, b, c, torch.ones(FEATURES), bias]


def forward(inputs: list[Tensor], backend: str) -> Tensor:
    with torch.no_grad():
        return selective_scan(*inputs, backend=backend)


def training(leaves: list[Tensor], dy: Tensor, backend: str) -> tuple[Tensor, ...]:
    return torch.autograd.grad(selective_scan(*leaves, backend=backend), leaves, dy)


def fastest(work: dict[str, tuple[Callable[[], object], int]], threads: tuple[int, ...]) -> list[dict[str, float]]:
    """Milliseconds of the fastest run of each, for each number of threads; all take turns.

    Args:
        work: What to run, and how many times.
        threads: Numbers of threads. After a change one run is not counted, as it starts them.
    """
    results: list[dict[str, float]] = [{} for _ in threads]
    for turn in range(-1, max(runs for _, runs in work.values())):
        for count, times in zip(threads, results, strict=True):
            torch.set_num_threads(count)
            next(iter(work.values()))[0]()
            for name, (function, runs) in work.items():
                if turn < runs:
                    took = seconds(function) * 1e3
                    if turn >= 0:
                        times[name] = min(times.get(name, took), took)
    return results


def measure_speed() -> list[dict[str, float]]:
    """Times with one and with two threads."""
    inputs, dy = make_inputs(), torch.randn(1, STEPS, FEATURES)
    leaves = [x.clone().requires_grad_() for x in inputs]
    faults = fastest({'faults': (lambda: training(leaves, dy, 'numba'), 6)}, (1, 2))
    # Apart from each other: halves of one array would lie a power of two apart, which slows a copy.
    source, target = torch.ones(8 * STEPS * FEATURES), torch.ones(8 * STEPS * FEATURES + 1000)[1000:]
    keep_freed_memory()
    out, short = torch.empty_like(dy), [x[:, :NAIVE_STEPS] if x.ndim == 3 else x for x in inputs]
    results = fastest(
        {
            'forward': (lambda: forward(inputs, 'numba'), 40),
            'training': (lambda: training(leaves, dy, 'numba'), 25),
            'copy': (lambda: target.copy_(source), 25),
            'exp': (lambda: [torch.exp(dy, out=out) for _ in range(8)], 12),
        },
        (1, 2),
    )
    # With one thread only: small torch operations on several threads crawl as soon as anything else runs.
    slow = fastest(
        {
            'forward': (lambda: forward(inputs, 'numba'), 4),
            'wide forward': (lambda: forward(inputs, 'wide'), 4),
            'wide training': (lambda: training(leaves, dy, 'wide'), 2),
            'naive': (lambda: forward(short, 'reference'), 3),
        },
        (1,),
    )
    results[0] = slow[0] | results[0] | {'naive': slow[0]['naive'] * STEPS / NAIVE_STEPS}
    arrays, weights = inputs[0].nbytes, inputs[3].nbytes
    for times, more in zip(results, faults, strict=True):
        per_byte = times.pop('copy') / (2 * source.nbytes)
        # Forward reads u, delta, B, C and writes y. Backward reads those and dy, and writes their gradients.
        times['floor forward'] = per_byte * (3 * arrays + 2 * weights)
        times['floor training'] = times['floor forward'] + per_byte * (5 * arrays + 4 * weights)
        times.update(more)
    return results


def measure_memory() -> dict[str, float]:
    """By how many MB forward, and forward with backward, raise the peak of the process."""
    torch.set_num_threads(1)
    inputs, dy = make_inputs(), torch.randn(1, STEPS, FEATURES)
    leaves = [x.clone().requires_grad_() for x in inputs]
    small = [x[:, :64].detach() if x.ndim == 3 else x for x in inputs]
    training([x.requires_grad_() for x in small], dy[:, :64], 'numba')  # compiles

    work = {'forward': lambda: forward(inputs, 'numba'), 'training': lambda: training(leaves, dy, 'numba')}
    return {name: peak_growth(run) / MB for name, run in work.items()}


def measure_error(trained: bool) -> dict[str, float]:
    def run(dtype: torch.dtype, backend: str) -> list[Tensor]:
        leaves = [x.to(dtype).requires_grad_() for x in make_inputs(trained)]
        y = selective_scan(*leaves, backend=backend)
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(dtype))]

    pairs = zip(run(torch.float32, 'numba'), run(torch.float64, 'wide'), strict=True)
    errors = [float((ours.double() - exact).abs().max() / exact.abs().max()) for ours, exact in pairs]
    return dict(zip(('y', *(f'd{name}' for name in NAMES)), errors, strict=True))


def measured(*what: str) -> dict[str, float] | list[dict[str, float]]:
    """A measurement of this file in a process of its own, as allocator and peak are those of a process."""
    return in_own_process(__file__, '--measure', *what)


def row(what: str, value: str, target: str, met: bool) -> None:
    print(f'{what:<46} {value:>12}   {target:<14} {"met" if met else "NOT MET"}')


def at_most(what: str, value: float, limit: float, form: str = '.2f') -> None:
    row(what, format(value, form), f'<= {limit:g}', value <= limit)


def at_least(what: str, value: float, limit: float) -> None:
    row(what, format(value, '.1f'), f'>= {limit:g}', value >= limit)


def main() -> None:
    print(f'{processor()}; torch {torch.__version__}; {FEATURES} features x {STEPS} steps x {STATES} states, float32\n')
    measured('memory')  # compiles, so that no measurement waits for it
    one, two = measured('speed')
    for label, times in (('1 thread', one), ('2 threads', two)):
        print(f'{label}: forward {times["forward"]:.1f} ms, with backward {times["training"]:.1f} ms', end='')
        print(f' (with page faults {times["faults"]:.1f} ms); copy floor', end='')
        print(f' {times["floor forward"]:.2f} / {times["floor training"]:.2f} ms, 8 exp {times["exp"]:.1f} ms')
    wide = f'{one["wide forward"]:.0f} / {one["wide training"]:.0f} ms'
    print(f'1 thread: wide {wide}, naive forward {one["naive"]:.0f} ms (from {NAIVE_STEPS} steps)')
    print(f'\n{"forward, 1 thread":<46} {"measured":>12}   target')
    at_most('  of eight exp passes', one['forward'] / one['exp'], 0.5)
    at_most('  of the copy floor', one['forward'] / one['floor forward'], 5)
    at_least('  times faster than wide', one['wide forward'] / one['forward'], 9)
    at_least('  times faster than the naive loop', one['naive'] / one['forward'], 80)
    print('forward and backward, 1 thread')
    at_most('  of the copy floor', one['training'] / one['floor training'], 8)
    at_least('  times faster than wide', one['wide training'] / one['training'], 8)
    at_most('  of its own forward', one['training'] / one['forward'], 4.5)
    print('2 threads')
    at_least('  forward, times faster than with 1', one['forward'] / two['forward'], 1.6)
    at_least('  forward and backward', one['training'] / two['training'], 1.6)
    for what, key in (('eight exp passes', 'exp'), ('copies of the arrays', 'floor training')):
        print(f'{f"  {what}: what the machine gives":46} {one[key] / two[key]:>12.1f}')
    output = STEPS * FEATURES * 4 / MB
    memory = measured('memory')
    print('extra peak memory, MB')
    at_most('  forward', memory['forward'], round(output + 30, 1), '.0f')
    # Backward's outputs are du, d_delta, dB and dC; y stands beside them.
    gradients = 3 * output + 2 * STEPS * STATES * 4 / MB
    at_most('  forward and backward', memory['training'], round(gradients + 30, 1), '.0f')
    for regime in ('initial', 'trained'):
        print(f'error, {regime} parameters')
        for name, error in measured('error', regime).items():
            at_most(f'  {name}', error, 1e-6 if name in ('dA', 'dD', 'ddelta_bias') else 5e-7, '.1e')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--measure', nargs='+', help=argparse.SUPPRESS)
    measure = parser.parse_args().measure
    if not measure:
        main()
    elif measure[0] == 'speed':
        print(json.dumps(measure_speed()))
    elif measure[0] == 'memory':
        print(json.dumps(measure_memory()))
    else:
        print(json.dumps(measure_error(measure[1] == 'trained')))
