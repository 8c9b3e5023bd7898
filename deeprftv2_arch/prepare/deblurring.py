"""Plans for the deblurring sets: which pairs, and what becomes of each."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.prepare import dpdd, gopro, hide, realblur, reds
from deeprftv2_arch.prepare.crops import Crops
from deeprftv2_arch.prepare.pair_job import PairItem, prepare_pair
from deeprftv2_arch.prepare.plan import Pair, Plan
from deeprftv2_arch.utils.errors import UserError

Find = Callable[..., tuple[str, list[Pair]]]
"""Takes the download and a part, and, by keyword, list files; returns the layout and the pairs."""

_FOR_ONE_SET = {
    'bit_depth': 'dpdd',
    'pairs': 'dpdd',
    'indoor_list': 'dpdd',
    'outdoor_list': 'dpdd',
    'lists': 'realblur',
}
"""Arguments that only one set, or the sets of that beginning, know."""


class DeblurringSet(NamedTuple):
    """A deblurring set that can be prepared.

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
    parts = args.parts or chosen.parts
    alone: dict[str, list[str]] = {part: [] for part in parts}
    found = {part: _find(args, chosen, part, alone[part]) for part in parts}
    for part, (_, pairs) in found.items():
        if not pairs:
            raise UserError(f'{args.source}: no image of the {part} part has a partner. Complete the download.')
    bit_depth = args.bit_depth or 8
    # Crops that an earlier run made are kept up to date with their images.
    cuts = args.crops or (args.out / 'train' / 'sharp_crops').is_dir()
    crops = chosen.crops if cuts else None
    items: list[PairItem] = []
    lmdb_folders = []
    for part, (layout, pairs) in found.items():
        part_crops = crops if part == 'train' else None
        suffix = '' if part_crops is None else '_crops'
        lmdb_folders += [f'{part}/blur{suffix}', f'{part}/sharp{suffix}']
        for pair in pairs:
            item = PairItem(
                pair,
                part,
                bit_depth=bit_depth,
                convert=args.name == 'dpdd',
                link=args.link,
                crops=part_crops,
                size=None if args.allow_incomplete else known.size,
                thumbnails=layout.endswith('by order'),
            )
            items.append(item)
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
        lmdb_folders=lmdb_folders,
        texts=texts,
        left_out=[
            {'image': f'{part}/{Path(file).stem}', 'reason': f'{file} has no partner'}
            for part, files in alone.items()
            for file in files
        ],
        check_order=any(item.thumbnails for item in items),
    )


def _find(args: Namespace, chosen: DeblurringSet, part: str, alone: list[str]) -> tuple[str, list[Pair]]:
    """Call the module of the set, with the list files that it alone knows of."""
    lists: dict[str, Any] = {'alone': alone if args.allow_incomplete else None}
    if args.lists:
        lists['lists'] = args.lists
    if args.pairs:
        lists['pairs_file'] = args.pairs
    return chosen.find(args.source, part, **lists)


def _check_arguments(args: Namespace, chosen: DeblurringSet) -> None:
    for part in args.parts or ():
        if part not in chosen.parts:
            raise UserError(f'--parts {part}: {args.name} has {", ".join(chosen.parts)}.')
    for option, name in _FOR_ONE_SET.items():
        if getattr(args, option) and not args.name.startswith(name):
            raise UserError(f'--{option.replace("_", "-")} is for {name} alone.')
    if args.crops and not chosen.crops:
        raise UserError(f'--crops: {args.name} is used whole by the published recipes. Leave --crops out.')
    if args.crops and args.parts and 'train' not in args.parts:
        raise UserError('--crops: only the train part is cut, which --parts leaves out.')
    if (args.indoor_list or args.outdoor_list) and args.parts and 'test' not in args.parts:
        raise UserError('--indoor-list and --outdoor-list are about the test part, which --parts leaves out.')
    if args.link and args.name == 'dpdd' and args.bit_depth != 16:
        raise UserError(
            '--link: files of 16 bits are converted to 8, so there is nothing to link to. Add --bit-depth 16.'
        )
