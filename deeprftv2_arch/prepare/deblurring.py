"""Plans for the deblurring sets: which pairs, and what becomes of each."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.prepare import dpdd, gopro, hide, realblur, reds
from deeprftv2_arch.prepare.crops import Crops
from deeprftv2_arch.prepare.pair_job import PairItem, prepare_pair
from deeprftv2_arch.prepare.plan import Pair, Plan
from deeprftv2_arch.utils.errors import UserError

Find = Callable[[Path, str], tuple[str, list[Pair]]]


class DeblurringSet(NamedTuple):
    """How the module of a set is used.

    Attributes:
        find: Gives layout and pairs of a part.
        parts: The parts that there are.
        crops: How training crops are cut, or None if nobody cuts any.
    """

    find: Find
    parts: tuple[str, ...]
    crops: Crops | None = None


SETS: Mapping[str, DeblurringSet] = {
    'gopro': DeblurringSet(gopro.find, gopro.PARTS, gopro.CROPS),
    'hide': DeblurringSet(hide.find, hide.PARTS),
    'realblur_r': DeblurringSet(partial(realblur.find, camera='R'), realblur.PARTS),
    'realblur_j': DeblurringSet(partial(realblur.find, camera='J'), realblur.PARTS),
    'reds': DeblurringSet(reds.find, reds.PARTS),
    'dpdd': DeblurringSet(dpdd.find, dpdd.PARTS, dpdd.CROPS),
}


def plan_deblurring(args: Namespace) -> Plan:
    """Plan the preparation of a deblurring set from the arguments of the command line.

    Raises:
        UserError: If the arguments do not fit the set, or the download is not as it should be.
    """
    chosen, known = SETS[args.name], KNOWN_SETS[args.name]
    _check_arguments(args, chosen)
    extra = {}
    if args.lists:
        extra['lists'] = args.lists
    if args.pairs:
        extra['pairs_file'] = args.pairs
    parts = args.parts or chosen.parts
    found = {part: chosen.find(args.source, part, **extra) for part in parts}
    bit_depth = args.bit_depth or 8
    # Crops that an earlier run made are kept up to date with their images.
    crops = chosen.crops if args.crops or (args.out / 'train' / 'sharp_crops').is_dir() else None
    items = [
        PairItem(
            pair,
            part,
            bit_depth=bit_depth,
            convert=args.name == 'dpdd',
            link=args.link,
            crops=crops if part == 'train' else None,
            size=None if args.allow_incomplete else known.size,
            likeness=layout.endswith('by order'),
        )
        for part, (layout, pairs) in found.items()
        for pair in pairs
    ]
    texts = {}
    if args.name == 'dpdd' and 'test' in parts:
        texts = dpdd.scene_lists(found['test'][1], args.indoor_list, args.outdoor_list)
    return Plan(
        name=args.name,
        layout='; '.join(dict.fromkeys(layout for layout, _ in found.values())),
        job=prepare_pair,
        items=items,
        counts={part: (len(pairs), known.images[part]) for part, (_, pairs) in found.items()},
        options={'bit_depth': bit_depth},
        folders=tuple(parts),
        lmdb_folders=[
            f'{part}/{role}{"_crops" if crops and part == "train" else ""}'
            for part in parts
            for role in ('blur', 'sharp')
        ],
        texts=texts,
        check_order=any(item.likeness for item in items),
    )


def _check_arguments(args: Namespace, chosen: DeblurringSet) -> None:
    wrong = [part for part in args.parts or () if part not in chosen.parts]
    if wrong:
        raise UserError(f'--parts {wrong[0]}: {args.name} has {", ".join(chosen.parts)}.')
    if args.crops and not chosen.crops:
        raise UserError(f'--crops: {args.name} is used whole by the published recipes. Leave --crops out.')
    if args.crops and args.parts and 'train' not in args.parts:
        raise UserError('--crops: only the train part is cut, which --parts leaves out.')
    only = {'bit_depth': 'dpdd', 'pairs': 'dpdd', 'indoor_list': 'dpdd', 'outdoor_list': 'dpdd', 'lists': 'realblur'}
    for option, name in only.items():
        if getattr(args, option) and not args.name.startswith(name):
            raise UserError(f'--{option.replace("_", "-")} is for {name} alone.')
    if (args.indoor_list or args.outdoor_list) and args.parts and 'test' not in args.parts:
        raise UserError('--indoor-list and --outdoor-list are about the test part, which --parts leaves out.')
    if args.link and args.name == 'dpdd' and args.bit_depth != 16:
        raise UserError(
            '--link: files of 16 bits are converted to 8, so there is nothing to link to. Add --bit-depth 16.'
        )
