"""`deeprftv2 prepare`: from a downloaded data set to the folders that the option files name."""

from __future__ import annotations

import argparse

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.prepare.deblurring import SETS, plan_deblurring
from deeprftv2_arch.prepare.execute import execute_plan
from deeprftv2_arch.prepare.files import LINKS
from deeprftv2_arch.prepare.photos import plan_photos
from deeprftv2_arch.prepare.srbench import plan_benchmark
from deeprftv2_arch.prepare.sub_images import plan_sub_images
from deeprftv2_arch.prepare.workers import default_workers
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import argument as path_argument

SUPER_RESOLUTION = {'div2k': plan_sub_images, 'df2k': plan_sub_images, 'srbench': plan_benchmark}
PLANS = {**dict.fromkeys(SETS, plan_deblurring), **SUPER_RESOLUTION, 'photos': plan_photos}


def parser() -> argparse.ArgumentParser:
    """Make the parser of all arguments, of which some are for one set alone."""
    parser = command_parser(
        'prepare',
        'Make the folders that the option files name from the download of a public data set. '
        'datasets/README.md says where each comes from. The download is never changed; an interrupted run goes on '
        'where it was when it is started again.',
        'gopro --source DOWNLOAD --out datasets/GoPro --crops --lmdb',
    )
    parser.add_argument('name', choices=tuple(PLANS), help='the data set; photos for photographs of your own')
    parser.add_argument(
        '--source',
        type=path_argument,
        required=True,
        help='folder of the unpacked download, of a flat copy, or of photographs',
    )
    parser.add_argument('--out', type=path_argument, required=True, help='folder to fill, such as datasets/GoPro')
    parser.add_argument('--parts', nargs='+', metavar='PART', help='only these: train, val, test; set5 and so on')
    parser.add_argument('--crops', action='store_true', help='cut training crops too (gopro, dpdd)')
    parser.add_argument('--lmdb', action='store_true', help='make LMDBs too; of crops where there are crops')
    parser.add_argument('--scales', nargs='+', type=int, choices=(2, 3, 4), help='super-resolution (default: all)')
    parser.add_argument('--link', choices=LINKS, help='link to the files of the download instead of copying them')
    parser.add_argument('--bit-depth', type=int, choices=(8, 16), help='dpdd: of the files to be made (default: 8)')
    parser.add_argument('--indoor-list', type=path_argument, help='dpdd: names or numbers of the indoor test images')
    parser.add_argument('--outdoor-list', type=path_argument, help='dpdd: names or numbers of the outdoor test images')
    parser.add_argument(
        '--pairs', type=path_argument, help='dpdd: lines of a blurred and a sharp name, where order cannot pair'
    )
    parser.add_argument(
        '--lists', type=path_argument, help='realblur: folder of the RealBlur_*_list.txt, if not in --source'
    )
    parser.add_argument('--allow-incomplete', action='store_true', help='go on with a subset; the manifest says so')
    parser.add_argument('--workers', type=int, default=default_workers(), help='processes (default: %(default)s)')
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Prepare a data set.

    Raises:
        UserError: If the arguments, the download or the output folder are not as they should be.
    """
    args = parser().parse_args(arguments)
    if args.workers < 1:
        raise UserError(f'--workers {args.workers}: at least one process is needed.')
    if not args.source.is_dir():
        raise UserError(f'--source {args.source}: there is no such folder. Unpack the download and name its folder.')
    for option in ('indoor_list', 'outdoor_list', 'pairs'):
        file = getattr(args, option)
        if file is not None and not file.is_file():
            raise UserError(f'{_flag(option)} {file}: there is no such file.')
    _check_kind(args)
    plan = PLANS[args.name](args)
    execute_plan(
        plan, args.source, args.out, workers=args.workers, lmdb=args.lmdb, allow_incomplete=args.allow_incomplete
    )


def _flag(option: str) -> str:
    return f'--{option.replace("_", "-")}'


def _check_kind(args: argparse.Namespace) -> None:
    """Refuse options that the set has no use for, and fill in the scales."""
    if args.name not in SUPER_RESOLUTION:
        if args.scales:
            raise UserError('--scales is for the super-resolution sets.')
        return
    args.scales = args.scales or [2, 3, 4]
    for option in ('crops', 'link', 'bit_depth', 'indoor_list', 'outdoor_list', 'pairs', 'lists'):
        if getattr(args, option):
            raise UserError(f'{_flag(option)} is for the deblurring sets; {args.name} has no use for it.')
    if args.parts and args.name != 'srbench':
        raise UserError(f'--parts: {args.name} is a training set and has no other part.')
