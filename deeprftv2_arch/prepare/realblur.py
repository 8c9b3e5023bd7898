"""RealBlur-R and RealBlur-J (Rim et al., ECCV 2020): pairs by the list files that come with the data."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from deeprftv2_arch.prepare.layouts import flat_folders, leave_out, pair_folders, roots, wrong_layout
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.list_file import read_numbered, ways_to_split

PARTS = ('train', 'test')
_ROLE = re.compile(r'(?:^|_)(?:blur|gt)(?=_)')


def find(
    source: Path, part: str, *, camera: str, lists: Path | None = None, alone: list[str] | None = None
) -> tuple[str, list[Pair]]:
    """Find the pairs of a part in the original layout or in a flat copy.

    Args:
        source: The download.
        part: train or test.
        camera: 'R' for images from raw data, 'J' for the camera's own JPEG images.
        lists: Folder of the list files, if it is not the download's own.
        alone: Filled with the files that have no partner; None to refuse them.

    Raises:
        UserError: If nothing is found, a list is missing or wrong, or images are left without partner.
    """
    for root in roots(source):
        if any(root.glob(f'RealBlur-{camera}_*/scene*/gt')):
            file = _list_file(lists or source, f'RealBlur_{camera}_{part}_list.txt')
            return 'original', _listed(root, file, alone)
    names = (f'RealBlur_{camera}', f'RealBlur-{camera}')
    folders = flat_folders(source, part, names)
    if folders:
        return 'flat', pair_folders(*folders, name=_name, alone=alone)
    layouts = (f'RealBlur-{camera}_*/sceneNNN/{{gt,blur}}', f'RealBlur_{camera}/{part}/{{blur,sharp}}')
    raise wrong_layout(source, f'RealBlur-{camera}', part, [*layouts, f'{part}/RealBlur_{camera}/{{input,target}}'])


def _list_file(folder: Path, name: str) -> Path:
    for root in roots(folder):
        if (root / name).is_file():
            return root / name
    raise UserError(
        f'{folder}: no {name}, which says what belongs to this part. It comes with the data set: put it beside the '
        'folder RealBlur-..., or name its folder with --lists.'
    )


def _listed(root: Path, file: Path, alone: list[str] | None) -> list[Pair]:
    pairs: list[Pair] = []
    missing: list[str] = []
    for number, line in read_numbered(file).items():
        ways = [(root / sharp, root / blur) for sharp, blur in ways_to_split(line)]
        found = [way for way in ways if way[0].is_file() and way[1].is_file()]
        if not found and len(ways) != 1:
            raise UserError(f'{file}, line {number}: expected a sharp and a blurred image, got {line!r}.')
        sharp, blur = (found or ways)[0]
        absent = [str(path) for path in (sharp, blur) if not path.is_file()]
        missing += absent
        if absent:
            continue
        scene = sharp.parent.parent.name
        pairs.append(Pair(f'{scene}{_name(sharp)}', blur, sharp))
    leave_out(missing, alone, f'{file} names {{}} images that are not there')
    pairs.sort()
    for pair, following in pairwise(pairs):
        if pair.name == following.name:
            raise UserError(f'{file} names {pair.name} twice. Take the list that comes with the data set.')
    return pairs


def _name(file: Path) -> str:
    """Drop the role from a name: ``scene001_blur_7`` becomes ``scene001_7``, and ``gt_7`` becomes ``_7``."""
    return _ROLE.sub('', file.stem)
