"""`deeprftv2 evaluate-photos`: how much better a network makes blurred photographs, and what it does to sharp ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.restoration.batch import check_writable
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import argument as path_argument

Item = TypeVar('Item')


def main(arguments: list[str] | None = None) -> None:
    """Measure weights on photographs, print tables, and write them with all values and pictures.

    Raises:
        UserError: There is nothing to measure on, or a photograph or the weights cannot be used.
    """
    parser = command_parser(
        'evaluate-photos',
        'Measure a network for photographs. --sharp: synthetic blur of fixed seeds, beside the best unsharp mask and '
        'the best Wiener filter, whose parameters are fitted on these pairs. --pairs: really blurred photographs '
        'beside a sharp one of the same scene, which is aligned. The sharp images of both are restored too: they are '
        'to be left alone. Prints tables, and writes them with the values of all images and pictures of the best, the '
        'median and the worst.',
        '--sharp kodak --pairs kwentar --out measured',
        '--sharp datasets/photos/val --weights net_g_best.pth',
    )
    parser.add_argument('--weights', type=path_argument, metavar='FILE', help='(default: those of this package)')
    parser.add_argument(
        '--sharp',
        type=path_argument,
        metavar='DIR',
        help='sharp photographs, never trained on; or folders blur and sharp, as prepare photos writes to val',
    )
    parser.add_argument(
        '--pairs',
        type=path_argument,
        metavar='DIR',
        help='folders blur and sharp with equal names, or names that end in _M or _F (blurred) and _S (sharp)',
    )
    parser.add_argument('--crop', type=int, default=256, help='side of the crops of --sharp in pixels (default: 256)')
    parser.add_argument('--crops', type=int, default=1, help='crops of each sharp photograph (default: 1)')
    parser.add_argument('--device', help='cuda, mps or cpu (default: the first of these that there is)')
    parser.add_argument(
        '--out', type=path_argument, default=Path('evaluated'), metavar='DIR', help='(default: evaluated)'
    )
    args = parser.parse_args(arguments)
    if args.sharp is None and args.pairs is None:
        raise UserError('There is nothing to measure on. Name --sharp DIR, --pairs DIR, or both.')
    if args.crop < 16 or args.crops < 1:
        raise UserError(f'--crop starts at 16 pixels and --crops at 1, got {args.crop} and {args.crops}.')
    check_writable(args.out)

    # Only now what takes seconds to import.
    from deeprftv2_arch.basicsr_compat.registration import register_all

    register_all()
    from deeprftv2_arch.restoration.evaluation import written
    from deeprftv2_arch.restoration.evaluation.evaluation import evaluate
    from deeprftv2_arch.restoration.evaluation.pairs import load_pairs
    from deeprftv2_arch.restoration.evaluation.scenes import find_scenes
    from deeprftv2_arch.restoration.network import SHIPPED
    from deeprftv2_arch.restoration.restorer import Restorer

    scenes = find_scenes(args.pairs) if args.pairs else []
    pairs = load_pairs(args.sharp, args.crop, args.crops) if args.sharp else []
    restorer = Restorer.load(args.weights, args.device)
    found = evaluate(restorer, args.weights or SHIPPED, pairs, scenes, _progress)
    print(written.tables(found))
    files = written.write(found, args.out)
    print(f'Written to {args.out}: {", ".join(str(path.relative_to(args.out)) for path in files)}')


def _progress(items: Iterable[Item], label: str) -> Iterable[Item]:
    return tqdm(list(items), label, leave=False, disable=None)
