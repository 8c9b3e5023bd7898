"""Training steps of this checkout beside those of another commit: `python benchmarks/step.py --against COMMIT`.

Both commits run in processes of their own and take turns, step by step, so that a busy minute of the machine meets
both. Counted is the CPU time of a process, which other processes disturb less than the time on the clock; printed is
the median of the ratios of the pairs, with their quartiles, and the ratio of the fastest steps. The other commit is
checked out into a temporary folder, which is removed at the end.

A step is a forward pass, a loss on all outputs of all scales (L1 and 0.01 times the distance of the spectra), and
backward; without the optimizer. With --forward it is a forward pass in evaluation mode.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]


class Case(NamedTuple):
    """What is trained: options of the network, or the option file that has them, number and side of the crops."""

    options: dict[str, Any] | str
    batch: int
    size: int


PLAIN = [['naf'] * 3] * 2
SMALL = {'width': 24, 'num_blocks': [1, 1, 2], 'block_types': PLAIN, 'num_columns': 1, 'reversible': False}
CASES = {
    'small': Case({**SMALL, 'zero_init_tails': True}, 4, 96),  # options/train_photos.yml
    'demo': Case('options/demo_train.yml', 2, 64),  # of either commit
    'S': Case({'block_types': PLAIN}, 1, 192),
    'B': Case({}, 1, 192),
}


def prepare(case: Case, forward: bool) -> Callable[[], None]:
    """Build the network of the checkout that is imported, and return its step."""
    import deeprftv2_arch  # noqa: F401  patches BasicSR first
    from deeprftv2_arch.archs import DeepRFTv2

    options = case.options
    if isinstance(options, str):
        # Read in the folder of the commit that is measured.
        options = yaml.safe_load(Path(options).read_text())['network_g']
        options.pop('type')
    torch.manual_seed(0)
    net = DeepRFTv2(**options)
    image, sharp = torch.rand(2, case.batch, 3, case.size, case.size)

    def step() -> None:
        net.zero_grad()
        loss = torch.zeros(())
        for scale, outputs in enumerate(net(image, return_all=True)):
            target = F.avg_pool2d(sharp, 2**scale)
            for output in outputs:
                spectrum = torch.fft.rfft2(output - target)
                loss = loss + F.l1_loss(output, target) + 0.01 * spectrum.abs().mean()
        loss.backward()

    @torch.no_grad()
    def run() -> None:
        net(image)

    net.train(not forward)
    return run if forward else step


def work(case: Case, forward: bool) -> None:
    """Run a step for every line of input, and print its CPU time in seconds."""
    step = prepare(case, forward)
    step()  # compiles
    print('ready', flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        step()
        print(time.process_time() - start, flush=True)


class Worker:
    """A process that runs the steps of one checkout."""

    def __init__(self, checkout: Path, arguments: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, *arguments, '--work', str(checkout)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=checkout,
            env={**os.environ, **environment, 'PYTHONPATH': str(checkout)},
        )
        self._read()

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit('a process ended before its steps were done; its error stands above')
        return line

    def seconds(self) -> float:
        """CPU time of one step."""
        assert self.process.stdin is not None
        self.process.stdin.write('step\n')
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """Check a commit out into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'other'
        git = ['git', '-C', str(ROOT), 'worktree']
        subprocess.run([*git, 'add', '--quiet', '--detach', str(path), commit], check=True)
        try:
            yield path
        finally:
            subprocess.run([*git, 'remove', '--force', str(path)], check=True)


def compare(name: str, other: Path, arguments: argparse.Namespace) -> None:
    """Print the row of a case."""
    flags = [name, '--threads', str(arguments.threads), *(['--forward'] if arguments.forward else [])]
    plain = {'DEEPRFTV2_FUSED': '0'} if arguments.against is None else {}
    workers = Worker(ROOT, flags, {}), Worker(other, flags, plain)
    pairs = [[worker.seconds() for worker in workers] for _ in range(arguments.rounds)]
    for worker in workers:
        worker.close()
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    quarter = len(ratios) // 4
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    print(
        f'{name:<6} {statistics.median(ratios):6.2f} {ratios[quarter]:6.2f} to {ratios[-1 - quarter]:4.2f} '
        f'{ours / theirs:8.2f} {ours:9.3f} {theirs:9.3f}',
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('cases', nargs='*', metavar='CASE', help=f'{", ".join(CASES)}; default: small demo')
    parser.add_argument('--against', metavar='COMMIT', help='default: this checkout without its fused passes')
    parser.add_argument('--forward', action='store_true', help='forward passes alone')
    parser.add_argument('--rounds', type=int, default=12)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--work', metavar='CHECKOUT', help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.cases or ['small', 'demo']
    unknown = [name for name in names if name not in CASES]
    if unknown:
        parser.error(f'unknown case {unknown[0]}; choose from {", ".join(CASES)}')
    torch.set_num_threads(arguments.threads)
    if arguments.work:
        # The folder of this script, which Python puts first, has modules of this checkout.
        sys.path[0] = arguments.work
        work(CASES[names[0]], arguments.forward)
        return
    from machine import describe

    print(describe())
    print(f'{"":6} {"median":>6} {"quartiles":>12} {"fastest":>10} {"s here":>9} {"s there":>9}')
    if arguments.against is None:
        for name in names:
            compare(name, ROOT, arguments)
        return
    with checkout(arguments.against) as other:
        for name in names:
            compare(name, other, arguments)


if __name__ == '__main__':
    main()
