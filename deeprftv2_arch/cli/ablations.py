"""`deeprftv2 ablations`: the rows of the paper's tables 6 and 7, listed, as option files, or trained in small."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from tqdm import tqdm

from deeprftv2_arch.analysis.ablation_options import ablation_options, narrowed, option_file_text
from deeprftv2_arch.analysis.ablations import ABLATIONS, TABLES, Ablation, rows_of
from deeprftv2_arch.analysis.complexity import Complexity, measure
from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.models.training_log import FILE_NAME, read_values
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.shapes_only import shapes_only
from deeprftv2_arch.utils.suggest import nearest

LAUNCHER = 'import sys; from deeprftv2_arch.cli.main import main; sys.exit(main())'
OPTION_FOLDER = 'ablations'


def main(arguments: list[str] | None = None) -> int:
    """List the rows, write the option file of one, or train a table in small.

    Returns:
        The exit code; that of the training where one fails.

    Raises:
        UserError: There is no such row or table, or a file cannot be written.
    """
    args = _parser().parse_args(arguments)
    if args.train:
        return _train_table(args)
    if args.row is None:
        _list()
        return 0
    ablation = ABLATIONS.get(args.row)
    if ablation is None:
        raise UserError(f'There is no row {args.row!r}{nearest(args.row, ABLATIONS)}. List them: deeprftv2 ablations.')
    text = option_file_text(ablation_options(ablation), ablation)
    if args.out is None:
        print(text, end='')
    else:
        print(write_atomically(Path(args.out), text))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        'ablations',
        "The rows of the paper's tables 6 and 7: a list, an option file, or a table trained in small.",
        '',
        'table6.5 --out my.yml',
        '--train table6 --iterations 500 --width 8 --lq data/blur --gt data/sharp --val-lq val/blur --val-gt val/sharp',
    )
    parser.add_argument('row', nargs='?', help='row whose option file to write, such as table6.5; none for the list')
    parser.add_argument('--out', help='option file to write (default: on the screen)')
    small = parser.add_argument_group('a table in small')
    small.add_argument('--train', choices=TABLES, metavar='|'.join(TABLES), help='train its rows one after the other')
    small.add_argument('--iterations', type=_positive, default=1000, help='of each row (default: 1000)')
    small.add_argument('--width', type=_positive, default=16, help="in the place of the paper's 48 (default: 16)")
    small.add_argument('--crop', type=_positive, default=64, help='side of the crops in pixels (default: 64)')
    small.add_argument('--batch', type=_positive, default=4, help='crops in a step (default: 4)')
    roots = {
        'lq': 'blurred images to train on',
        'gt': 'their sharp images',
        'val-lq': 'blurred images to measure on',
        'val-gt': 'their sharp images',
    }
    for name, says in roots.items():
        part, kind = ('test' if 'val' in name else 'train'), ('blur' if 'lq' in name else 'sharp')
        default = f'datasets/GoPro/{part}/{kind}'
        small.add_argument(f'--{name}', default=default, metavar='DIR', help=f'{says} (default: {default})')
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError('must be at least 1')
    return value


def _count(network: dict[str, Any]) -> Complexity:
    options = dict(network)
    with shapes_only():
        built = ARCH_REGISTRY.get(options.pop('type'))(**options)
    return measure(built, 256, 256)


def _list() -> None:
    counts: dict[str, Complexity] = {}
    for ablation in tqdm(ABLATIONS.values(), 'counting', leave=False):
        same = str(ablation.network)
        if same not in counts:
            counts[same] = _count(dict(ablation.network))
    print('PSNR and GFLOPs as published; GMACs of convolutions and linear layers at 256x256 and parameters as built.')
    print(f'{"row":<10} {"":<40} {"PSNR":>6} {"GFLOPs":>7} {"GMACs":>7} {"parameters":>11}')
    for ablation in ABLATIONS.values():
        count = counts[str(ablation.network)]
        gflops = '-' if ablation.gflops is None else f'{ablation.gflops:.2f}'
        print(
            f'{ablation.name:<10} {ablation.says:<40} {_decibel(ablation.psnr):>6} {gflops:>7} '
            f'{count.macs / 1e9:>7.2f} {count.parameters:>11,d}'
        )


def _decibel(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f}'


def _train_table(args: argparse.Namespace) -> int:
    """Train the rows that are not done yet, then print what all of them reached."""
    for folder in (args.lq, args.gt, args.val_lq, args.val_gt):
        if not Path(folder).is_dir():
            raise UserError(f'There is no folder {folder}. Name prepared images with --lq, --gt, --val-lq, --val-gt.')
    reached: dict[str, float] = {}
    rows = list(rows_of(args.train))
    for number, ablation in enumerate(rows, start=1):
        options = _small_options(ablation, args)
        file = Path(OPTION_FOLDER, f'{options["name"]}.yml')
        if _final_psnr(options) is None:
            print(f'{ablation.name} ({number} of {len(rows)}): {ablation.says}', flush=True)
            write_atomically(file, option_file_text(options, ablation))
            command = [sys.executable, '-c', LAUNCHER, 'train', '-opt', str(file), '--auto_resume']
            code = subprocess.run(command, check=False).returncode
            if code:
                print(f'{ablation.name} ended with exit code {code}. Run the same command to go on.', file=sys.stderr)
                return code
        psnr = _final_psnr(options)
        if psnr is None:
            raise UserError(f'experiments/{options["name"]}/{FILE_NAME} holds no PSNR of the last iteration.')
        reached[ablation.name] = psnr
    _print_reached(rows, reached, args)
    return 0


def _small_options(ablation: Ablation, args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a row in small. All that changes the result is in the name of the experiment."""
    options = ablation_options(ablation)
    options['name'] = f'{ablation.name}_{args.iterations}x{args.batch}x{args.crop}_width{args.width}'
    options['network_g'] = narrowed(options['network_g'], args.width)
    train, val = options['datasets']['train'], options['datasets']['val']
    train.update(name='train', dataroot_lq=args.lq, dataroot_gt=args.gt, num_worker_per_gpu=1)
    val.update(name='val', dataroot_lq=args.val_lq, dataroot_gt=args.val_gt)
    options['train']['stages'] = [{'gt_size': args.crop, 'total_batch': args.batch, 'iterations': args.iterations}]
    options['train']['total_iter'] = args.iterations
    options['val'].update(val_freq=args.iterations + 1, pbar=False)  # once, at the end
    options['logger'].update(
        print_freq=max(1, args.iterations // 20),
        save_checkpoint_freq=max(1, args.iterations // 4),
        use_tb_logger=False,
    )
    return options


def _final_psnr(options: dict[str, Any]) -> float | None:
    """Return the PSNR after the last iteration, if the training got there.

    Raises:
        UserError: The training of that name was made with other options.
    """
    folder = Path('experiments', options['name'])
    file, written = folder / FILE_NAME, Path(OPTION_FOLDER, f'{options["name"]}.yml')
    if not file.is_file():
        return None
    if written.is_file() and yaml.safe_load(written.read_text(encoding='utf-8')) != options:
        raise UserError(f'{folder} was trained with other options, see {written}. Start in another folder.')
    points = read_values(file).get('val/val/psnr', [])
    return next((value for iteration, value in points if iteration == options['train']['total_iter']), None)


def _print_reached(rows: list[Ablation], reached: dict[str, float], args: argparse.Namespace) -> None:
    print(f'{args.iterations} iterations of {args.batch} crops of {args.crop}, width {args.width} for 48')
    print(f'{"row":<10} {"":<40} {"paper":>6} {"here":>6} {"parameters":>11}')
    for ablation in rows:
        with shapes_only():
            network = narrowed(ablation.network, args.width)
            built = ARCH_REGISTRY.get(network.pop('type'))(**network)
        parameters = sum(parameter.numel() for parameter in built.parameters())
        print(
            f'{ablation.name:<10} {ablation.says:<40} {_decibel(ablation.psnr):>6} '
            f'{_decibel(reached[ablation.name]):>6} {parameters:>11,d}'
        )
