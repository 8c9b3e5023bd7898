"""`deeprftv2 analyze cka`: how similar the features of the estimators are to the blur kernel (paper figure 8)."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deeprftv2_arch.analysis.cka import LEAST_EXAMPLES, gram, minibatch_cka
from deeprftv2_arch.analysis.pictures import draw_matrix, require_matplotlib, write_numbers
from deeprftv2_arch.analysis.recording import EstimatorRecord, estimators_of, record
from deeprftv2_arch.analysis.true_kernels import division_spectrum
from deeprftv2_arch.cli import analyze_inputs as inputs
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.data.pairing import ImagePair, pair_folders
from deeprftv2_arch.nn.pyramid import image_pyramid
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError

CHOICES = (
    'Choices that the paper leaves open: linear CKA, estimated without bias over batches; an example is the middle of '
    'an image; the kernel is F(B) / F(S), regularised, real and imaginary part side by side.'
)
KERNEL = 'kernel'


def main(arguments: list[str] | None = None) -> None:
    """Compare r_0 to r_4 of every column and scale with the kernel, and with each other.

    Raises:
        UserError: Files cannot be read or do not fit together, or there are too few images.
    """
    parser = command_parser(
        'analyze cka',
        f'CKA of the features of the estimators with the blur kernel (figure 8). {CHOICES}',
        '-opt options/test_gopro.yml --blurred datasets/GoPro/test/blur --sharp datasets/GoPro/test/sharp',
    )
    parser.add_argument('-opt', required=True, help='option file with the network')
    parser.add_argument('--weights', help='its checkpoint (default: path.pretrain_network_g)')
    parser.add_argument('--blurred', required=True, metavar='DIR', help='blurred images')
    parser.add_argument('--sharp', required=True, metavar='DIR', help='their sharp images')
    parser.add_argument('--crop', type=inputs.positive, default=256, help='side of the crops (default: 256)')
    parser.add_argument('--batch', type=inputs.positive, default=16, help='images in a batch (default: 16)')
    parser.add_argument('--batches', type=inputs.positive, default=8, help='batches (default: 8)')
    parser.add_argument('--eps', type=float, default=1e-3, help='of the division, in mean powers (default: 0.001)')
    parser.add_argument('--out', default=inputs.OUT, help=f'folder to write to (default: {inputs.OUT})')
    args = parser.parse_args(arguments)
    require_matplotlib()
    network, options = inputs.load_network(args.opt, args.weights)
    estimators_of(network)
    crop = inputs.patch_size(args.crop, [options])
    batches = _batches(pair_folders(args.sharp, args.blurred, recursive=True), args.batch, args.batches)
    grams: dict[str, list[Tensor]] = defaultdict(list)
    with tqdm(total=sum(map(len, batches)), desc='images') as progress:
        for batch in batches:
            for name, features in _features(network, batch, crop, args.eps, progress).items():
                grams[name].append(gram(features))
    names = list(grams)
    matrix = np.array([[minibatch_cka(grams[a], grams[b]) for b in names] for a in names])
    target = Path(args.out, f'{Path(args.opt).stem}_cka')
    examples = sum(map(len, batches))
    title = f'{examples} crops of {crop} in {len(batches)} batches'
    print(draw_matrix(target.with_suffix('.png'), matrix, names, names, f'Linear CKA, {title}'))
    print(write_numbers(target.with_suffix('.npz'), {'names': np.array(names), 'cka': matrix}))
    print(write_atomically(target.with_suffix('.csv'), _table(names, matrix)))
    print(f'CKA with the kernel of their scale, {title}')
    for index, name in enumerate(names):
        if not name.startswith(KERNEL):
            print(f'  {name:<24} {matrix[index, names.index(_kernel_name(name))]:>7.3f}')


def _batches(pairs: list[ImagePair], size: int, most: int) -> list[list[ImagePair]]:
    if min(size, len(pairs)) < LEAST_EXAMPLES:
        raise UserError(
            f'CKA compares at least {LEAST_EXAMPLES} images in a batch, got {len(pairs)} images in batches of {size}.'
        )
    batches = [pairs[start : start + size] for start in range(0, min(len(pairs), size * most), size)]
    return [batch for batch in batches if len(batch) >= LEAST_EXAMPLES]


@torch.no_grad()
def _features(network: nn.Module, batch: list[ImagePair], crop: int, eps: float, progress: tqdm) -> dict[str, Tensor]:
    """Run the images of a batch one by one; return all features and the kernels, an example in a row."""
    rows: dict[str, list[Tensor]] = defaultdict(list)
    estimators = estimators_of(network)
    for pair in batch:
        blurred, sharp = inputs.read_pair(pair.lq, pair.gt)
        if min(blurred.shape[1:]) < crop:
            raise UserError(f'{pair.lq} is smaller than the crops of {crop}. Take a smaller --crop.')
        blurred, sharp = inputs.middle(blurred, crop), inputs.middle(sharp, crop)
        records: dict[tuple[int, int], list[EstimatorRecord]] = {}
        with ExitStack() as stack:
            for place, estimator in sorted(estimators.items()):
                records[place] = stack.enter_context(record(estimator, maps=False))
            network(blurred[None])
        scales = 1 + max(scale for _, scale in estimators)
        pyramids = (image_pyramid(image[None].double(), scales) for image in (blurred, sharp))
        for scale, (lq, gt) in enumerate(zip(*pyramids, strict=True)):
            spectrum = division_spectrum(lq, gt, eps)
            rows[_name(scale, KERNEL)].append(torch.cat([spectrum.real, spectrum.imag]).float().flatten())
        for (column, scale), found in records.items():
            for index, residual in enumerate(found[-1].residuals):
                rows[_name(scale, f'column {column + 1} r{index}')].append(residual.flatten())
        progress.update()
    return {name: torch.stack(rows[name]) for name in sorted(rows, key=lambda name: (name.split(', ')[1], name))}


def _name(scale: int, feature: str) -> str:
    return f'{feature}, 1/{2**scale}'


def _kernel_name(name: str) -> str:
    return f'{KERNEL}, {name.split(", ")[1]}'


def _table(names: list[str], matrix: np.ndarray) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(['', *names])
    for name, row in zip(names, matrix, strict=True):
        writer.writerow([name, *(f'{value:.6f}' for value in row)])
    return text.getvalue()
