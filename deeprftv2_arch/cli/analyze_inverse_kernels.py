"""`deeprftv2 analyze inverse-kernels`: the two claims of FDIKP's abstract on images with a known blur."""

from __future__ import annotations

import csv
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from deeprftv2_arch.analysis.inverse_kernels import (
    InverseKernelProbe,
    Setting,
    accuracy,
    kernels_at,
    spread,
    train_probe,
    two_halves,
)
from deeprftv2_arch.analysis.synthetic_defocus import sharp_textures
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.nn.fdikp.inverse_kernels import BRANCHES
from deeprftv2_arch.utils.errors import UserError

STRENGTHS = (0.5, 1.0, 1.5, 2.0)
OTHER_HALF = 0.8


class Measured(NamedTuple):
    """One trained probe at one strength of blur.

    Attributes:
        branches: What predicted the kernels.
        seed: Of weights and training data.
        strength: Of the blur, in pixels.
        error: See :func:`inversion_error`; 0 undoes the blur as far as noise lets it, 1 is no filter at all.
        gain: In dB of PSNR over the blurred image.
        spread: Of the kernels over crops of an image, see :func:`spread`.
    """

    branches: str
    seed: int
    strength: float
    error: float
    gain: float
    spread: float


def main(arguments: list[str] | None = None) -> int:
    """Command line: train probes, and write ``results.csv``, ``results.md`` and ``kernels.png``.

    Returns:
        The exit code, 0.

    Raises:
        UserError: The folder cannot be written, or a number does not fit.
    """
    parser = command_parser(
        'analyze inverse-kernels',
        'Train inverse kernel prediction with one branch and with both, and compare.',
        '--shape gaussian --steps 300 --seeds 3 --out inverse_kernels',
    )
    parser.add_argument('--shape', choices=('gaussian', 'disk'), default='gaussian', help='of the blur')
    parser.add_argument('--steps', type=int, default=300, help='training steps of each probe')
    parser.add_argument('--seeds', type=int, default=3, help='probes of each kind')
    parser.add_argument('--images', type=int, default=8, help='test images')
    parser.add_argument('--out', type=Path, default=Path('inverse_kernels'), help='folder of the results')
    args = parser.parse_args(arguments)
    if min(args.steps, args.seeds, args.images) < 1:
        raise UserError('--steps, --seeds and --images must be at least 1.')
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'--out: cannot make the folder {args.out}: {error.strerror}.') from error

    setting = Setting(shape=args.shape, steps=args.steps)
    started = time.process_time()
    measured, probes = compare(setting, seeds=args.seeds, images=args.images)
    seconds = time.process_time() - started
    heading = (
        f'{args.shape} blur up to {setting.strongest} px, {args.seeds} seeds of {args.steps} steps, {args.images} test '
        f'images; {seconds:.0f} s on one core of {_processor()}'
    )
    text = f'{heading}\n\n{table(measured)}\n'
    with (args.out / 'results.csv').open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(Measured._fields)
        writer.writerows(measured)
    (args.out / 'results.md').write_text(text, encoding='utf-8')
    draw(probes, setting, args.out / 'kernels.png')
    print(text, end='')
    return 0


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()


def compare(setting: Setting, *, seeds: int, images: int) -> tuple[list[Measured], dict[str, InverseKernelProbe]]:
    """Train a probe of each kind from each seed, on the same data, and measure it.

    Returns:
        What was measured, and the probes of the first seed by their branches.
    """
    sharp = sharp_textures(images, 96, torch.Generator().manual_seed(1_000_000))
    measured: list[Measured] = []
    probes: dict[str, InverseKernelProbe] = {}
    for seed in range(seeds):
        for branches in BRANCHES:
            torch.manual_seed(seed)
            probe = InverseKernelProbe(branches, signed_gain=setting.shape == 'disk')
            train_probe(probe, setting, seed)
            probes.setdefault(branches, probe)
            for strength in STRENGTHS:
                error, gain = accuracy(probe, sharp, strength, OTHER_HALF, setting)
                steadiness = spread(probe, sharp, strength, setting, crop=48)
                measured.append(Measured(branches, seed, strength, error, gain, steadiness))
            print(f'seed {seed}, {branches}: done', file=sys.stderr, flush=True)
    return measured, probes


def table(measured: Sequence[Measured]) -> str:
    """Mean and standard deviation over seeds, a line for each kind and strength, in Markdown."""
    lines = [
        '| blur, px | branches | error of the kernel | PSNR gain, dB | spread over crops |',
        '|---:|---|---:|---:|---:|',
    ]
    for strength in STRENGTHS:
        for branches in BRANCHES:
            rows = [row for row in measured if (row.strength, row.branches) == (strength, branches)]
            cells = [
                _mean_and_deviation([getattr(row, name) for row in rows], digits)
                for name, digits in (('error', 3), ('gain', 2), ('spread', 3))
            ]
            lines.append(f'| {strength} | {branches} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _mean_and_deviation(values: Sequence[float], digits: int) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f'{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}'


def draw(probes: Mapping[str, InverseKernelProbe], setting: Setting, file: Path) -> None:
    """Write a picture: profiles through the centre of the mean kernels, a panel for each strength.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("The picture needs matplotlib. Try: pip install 'deeprftv2_arch[plots]'") from error
    sharp = sharp_textures(4, 96, torch.Generator().manual_seed(1_000_001))
    figure = Figure(figsize=(3 * len(STRENGTHS), 3), layout='constrained')
    panels = figure.subplots(1, len(STRENGTHS), sharey=True)
    for panel, strength in zip(panels, STRENGTHS, strict=True):
        blurred = two_halves(sharp, strength, strength, setting, seed=3).blurred
        for branches, probe in probes.items():
            kernel = kernels_at(probe, blurred, (16, 80)).mean((0, 1))
            middle = kernel.shape[-1] // 2
            panel.plot(range(-middle, middle + 1), kernel[middle].numpy(), label=branches)
        panel.set_title(f'blur of {strength} px')
        panel.set_xlabel('pixels from the centre')
    panels[0].set_ylabel('kernel')
    panels[0].legend()
    figure.savefig(file, dpi=100)
