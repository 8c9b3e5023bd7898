"""`deeprftv2 analyze kernels`: features, kernels and spectra of estimators (paper figures 6 and 7), and a score."""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deeprftv2_arch.analysis.kernels import central, kernel_picture, log_spectrum, spatial_kernels
from deeprftv2_arch.analysis.pictures import Panel, draw_panels, require_matplotlib, stretch, write_numbers
from deeprftv2_arch.analysis.recording import EstimatorRecord, estimators_of, record
from deeprftv2_arch.analysis.true_kernels import best_correlation, convolve, division_spectrum, motion_kernel
from deeprftv2_arch.cli import analyze_inputs as inputs
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError

CHOICES = (
    'Choices that the paper leaves open: the middle of the image as one patch; the last estimator at full resolution; '
    'the mean over the channels, sign kept; the division of the spectra is regularised.'
)
# Lengths of the made motions, in pixels.
SHORTEST, LONGEST = 7, 31


def main(arguments: list[str] | None = None) -> None:
    """Draw the kernels of one or more checkpoints for a pair of images, or score them on known kernels.

    Raises:
        UserError: Files cannot be read or do not fit together.
    """
    args = _parser().parse_args(arguments)
    require_matplotlib()
    weights = args.weights or [None] * len(args.opt)
    if len(weights) != len(args.opt):
        raise UserError(f'{len(args.opt)} option files and {len(weights)} checkpoints: give one of each for a network.')
    loaded = [inputs.load_network(*pair) for pair in zip(args.opt, weights, strict=True)]
    networks: dict[str, nn.Module] = {}
    for file, (network, _) in zip(args.opt, loaded, strict=True):
        networks[f'{Path(file).stem} ({len(networks) + 1})' if len(args.opt) > 1 else Path(file).stem] = network
    size = inputs.patch_size(args.size, [options for _, options in loaded])
    if args.score:
        _score(networks, size, args)
    else:
        _draw(networks, size, args)


def _parser() -> argparse.ArgumentParser:
    pair = '--blurred b.png --sharp s.png'
    parser = command_parser(
        'analyze kernels',
        f'Features and kernels of Fourier kernel estimators (figures 6 and 7). {CHOICES}',
        f'-opt options/test_gopro.yml {pair}',
        f'-opt my7.2.yml my7.8.yml --weights 2.pth 8.pth {pair}',
        '-opt options/test_gopro.yml --score --sharp datasets/GoPro/test/sharp --images 20',
    )
    parser.add_argument('-opt', required=True, nargs='+', help='option files with the networks')
    parser.add_argument('--weights', nargs='+', help='their checkpoints (default: path.pretrain_network_g)')
    parser.add_argument('--blurred', metavar='IMAGE', help='blurred image')
    parser.add_argument('--sharp', required=True, metavar='IMAGE', help='its sharp image; a folder of them for --score')
    parser.add_argument('--size', type=inputs.positive, default=512, help='side of the patch (default: 512)')
    parser.add_argument('--kernel-size', type=inputs.positive, default=65, help='side of kernel pictures (default: 65)')
    parser.add_argument('--eps', type=float, default=1e-3, help='of the division, in mean powers (default: 0.001)')
    parser.add_argument('--out', default=inputs.OUT, help=f'folder to write to (default: {inputs.OUT})')
    parser.add_argument('--score', action='store_true', help='blur sharp images with known motions and correlate')
    parser.add_argument('--images', type=inputs.positive, default=20, help='images to score (default: 20)')
    return parser


@torch.no_grad()
def _record(network: nn.Module, image: Tensor, maps: bool = True) -> EstimatorRecord:
    """Run a network on a patch (3, h, w) and return what its last estimator at full resolution computed."""
    estimators = estimators_of(network)
    last = max(column for column, scale in estimators if scale == 0)
    with record(estimators[last, 0], maps) as records:
        network(image[None])
    return records[-1]


def _central(kernels: Tensor, size: int) -> Tensor:
    try:
        return central(kernels, size)
    except ValueError as error:
        raise UserError(f'--kernel-size {size}: {error}. Take a smaller one, or larger images.') from error


def _draw(networks: dict[str, nn.Module], size: int, args: argparse.Namespace) -> None:
    if args.blurred is None:
        raise UserError('Give the blurred image with --blurred, or --score for images with known kernels.')
    blurred, sharp = (inputs.middle(image, size) for image in inputs.read_pair(args.blurred, args.sharp))
    division = spatial_kernels(division_spectrum(blurred.double(), sharp.double(), args.eps)).mean(0)
    true = _central(division, args.kernel_size)
    rows = [
        [
            Panel('sharp', sharp.permute(1, 2, 0).numpy()),
            Panel('blurred', blurred.permute(1, 2, 0).numpy()),
            Panel('F(B) / F(S)', stretch(true.numpy()), 'Greys_r'),
            Panel('spectrum: sharp', stretch(log_spectrum(sharp).mean(0).numpy()), 'Blues_r'),
            Panel('spectrum: blurred', stretch(log_spectrum(blurred).mean(0).numpy()), 'Blues_r'),
            Panel('spectrum: F(B) / F(S)', stretch(log_spectrum(division).numpy()), 'Blues_r'),
        ]
    ]
    numbers = {'division_kernel': true.numpy()}
    for name, network in tqdm(networks.items(), 'networks', disable=len(networks) < 2):
        found = _record(network, blurred)
        kernels = spatial_kernels(found.kernel)
        rows.append(
            [
                _map_panel(f'{name}: before', found.before),
                _map_panel('after', found.after),
                Panel('kernel', stretch(_central(kernels, args.kernel_size).mean((0, 1)).numpy()), 'Greys_r'),
                _spectrum_panel('spectrum: before', found.before),
                _spectrum_panel('after', found.after),
                _spectrum_panel('kernel', kernels),
            ]
        )
        numbers[f'{name}.kernels'] = _central(kernels, args.kernel_size)[0].numpy()
        numbers[f'{name}.before'] = found.before.mean((0, 1)).numpy()
        numbers[f'{name}.after'] = found.after.mean((0, 1)).numpy()
    target = Path(args.out, f'{Path(args.blurred).stem}_kernels')
    print(draw_panels(target.with_suffix('.png'), rows))
    print(write_numbers(target.with_suffix('.npz'), numbers))


def _map_panel(title: str, maps: Tensor) -> Panel:
    return Panel(title, stretch(maps.mean((0, 1)).numpy()), 'Reds')


def _spectrum_panel(title: str, maps: Tensor) -> Panel:
    return Panel(title, stretch(log_spectrum(maps).mean((0, 1)).numpy()), 'Blues_r')


def _score(networks: dict[str, nn.Module], size: int, args: argparse.Namespace) -> None:
    """Correlate kernels with those that the images were blurred with; seeded, so that every run is the same."""
    files = inputs.images_of(args.sharp)[: args.images]
    random = np.random.default_rng(0)
    true = [
        motion_kernel(LONGEST, random.uniform(SHORTEST, LONGEST), random.uniform(0, 180)) for _ in range(len(files))
    ]
    rows: list[tuple[str, str, str, float, float]] = []
    for name, network in networks.items():
        for number, file in enumerate(tqdm(files, name)):
            image = inputs.read_rgb(file)
            if min(image.shape[1:]) <= LONGEST // 2:
                raise UserError(f'{file} is too small to be blurred by motions of up to {LONGEST} pixels.')
            sharp = inputs.middle(image, size)
            # The borders of the patch are blurred from what is around it, and the result has 8 bits.
            blurred = inputs.middle((convolve(image, true[number]) * 255).round() / 255, size)
            kernels, still = (
                _central(spatial_kernels(_record(network, patch, maps=False).kernel), args.kernel_size)
                for patch in (blurred, sharp)
            )
            pictures = {
                'mean': kernels.mean((0, 1)).double(),
                'less_sharp': kernel_picture(kernels, still[0]).double(),
            }
            for kind, picture in pictures.items():
                own = best_correlation(picture, true[number])
                others = [best_correlation(picture, kernel) for kernel in true if kernel is not true[number]]
                rows.append((name, file.name, kind, own, float(np.mean(others)) if others else float('nan')))
    text = io.StringIO()
    csv.writer(text).writerows([('network', 'image', 'kernel', 'own', 'others'), *rows])
    print(write_atomically(Path(args.out, 'kernel_scores.csv'), text.getvalue()))
    print(f'{"":<24} {"correlation with the true kernel":>34} {"with those of other images":>28}')
    for name in networks:
        for kind, says in (('mean', 'mean of the channels'), ('less_sharp', "less the sharp image's")):
            chosen = [row for row in rows if row[0] == name and row[2] == kind]
            means = np.mean([row[3:] for row in chosen], axis=0)
            print(f'{name}\n  {says:<24} {means[0]:>32.3f} {means[1]:>28.3f}')
