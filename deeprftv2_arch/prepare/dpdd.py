"""DPDD (Abuolaim and Brown, ECCV 2020): defocused and sharp photographs of a camera on a tripod, 16 bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deeprftv2_arch.prepare.crops import Crops
from deeprftv2_arch.prepare.layouts import (
    flat_folders,
    image_files,
    pair_by_name,
    read_list,
    roots,
    wrong_layout,
)
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.natural_sort import natural

PARTS = ('train', 'val', 'test')
CROPS = Crops(size=512, step=204, drop=0.3)
"""28 windows of each image of 1680x1120, of which the 20 with most detail are kept."""


def find(source: Path, part: str, *, pairs_file: Path | None = None) -> tuple[str, list[Pair]]:
    """Find the pairs of a part, of the combined view of the camera, in the original layout or in a flat copy.

    In the original, the two photographs of a scene have different numbers; they belong together by their order.

    Args:
        source: The download.
        part: train, val or test.
        pairs_file: Lines with the names of a blurred and of a sharp image, which then decide.

    Returns:
        The name of the layout, with ``by order`` if the order decided, and the pairs.

    Raises:
        UserError: If nothing is found, or the folders hold different numbers of images.
    """
    for root in roots(source):
        folder = root / f'{part}_c'
        if (folder / 'source').is_dir() and (folder / 'target').is_dir():
            return _paired('original', folder / 'source', folder / 'target', pairs_file)
    folders = flat_folders(source, part, ('DPDD',))
    if folders:
        return _paired('flat', *folders, pairs_file)
    raise wrong_layout(source, 'DPDD', part, (f'{part}_c/{{source,target}}', f'{part}/DPDD/{{inputC,target}}'))


def _paired(layout: str, blur_folder: Path, sharp_folder: Path, pairs_file: Path | None) -> tuple[str, list[Pair]]:
    blur, sharp = (
        sorted(image_files(folder), key=lambda file: natural(file.name)) for folder in (blur_folder, sharp_folder)
    )
    if pairs_file:
        return layout, _listed(pairs_file, {f.name: f for f in blur}, {f.name: f for f in sharp})
    if {file.stem for file in blur} & {file.stem for file in sharp}:
        return layout, pair_by_name(blur, sharp, blur_folder.parent)
    if len(blur) != len(sharp):
        raise UserError(
            f'{blur_folder} holds {len(blur)} images, {sharp_folder} {len(sharp)}. Names differ, so they can only be '
            'paired by order or by a list. Complete the download, or give --pairs FILE.'
        )
    return f'{layout}, paired by order', [Pair(b.stem, b, s) for b, s in zip(blur, sharp, strict=True)]


def _listed(file: Path, blur: dict[str, Path], sharp: dict[str, Path]) -> list[Pair]:
    """Pairs by the lines of a file; lines about images of other parts are passed over."""
    pairs = []
    for number, line in enumerate(read_list(file).splitlines(), start=1):
        names = line.split()
        if len(names) not in (0, 2):
            raise UserError(f'{file}, line {number}: expected a blurred and a sharp image, got {line!r}.')
        if names and (names[0] in blur) != (names[1] in sharp):
            absent = names[1] if names[0] in blur else names[0]
            raise UserError(f'{file}, line {number}: there is no {absent} beside its partner.')
        if names and names[0] in blur:
            pairs.append(Pair(Path(names[0]).stem, blur[names[0]], sharp[names[1]]))
    unlisted = sorted((blur.keys() - {p.blur.name for p in pairs}) | (sharp.keys() - {p.sharp.name for p in pairs}))
    if unlisted:
        raise UserError(f'{file} does not name {unlisted[0]}. Every image must stand in one line of it.')
    return pairs


def scene_lists(pairs: list[Pair], indoor: Path | None, outdoor: Path | None) -> dict[str, str]:
    """Lists of the indoor and the outdoor test images, from the lists that a user has.

    A list is a text file of names or of numbers, or a NumPy file of numbers. Numbers count from 1 through the sorted
    names, as in the label files that go round with DPDD. Where one list is given, the other one is the rest.

    Returns:
        The text of each list file, a name in a line, by its path below the prepared folder; empty without lists.

    Raises:
        UserError: If a list cannot be read, names what is not there, or if the two overlap or leave images out.
    """
    if not indoor and not outdoor:
        return {}
    names = sorted((pair.name for pair in pairs), key=natural)
    given = {place: set(_scenes(file, names)) for place, file in [('indoor', indoor), ('outdoor', outdoor)] if file}
    inside = given.get('indoor', set(names) - given.get('outdoor', set()))
    outside = given.get('outdoor', set(names) - inside)
    if inside & outside or inside | outside != set(names):
        odd = sorted((inside & outside) or (set(names) - inside - outside))
        raise UserError(f'{indoor} and {outdoor} must share out the test images; {odd[0]} is in both or in neither.')
    return {
        f'test/{place}.txt': ''.join(f'{name}\n' for name in names if name in chosen)
        for place, chosen in [('indoor', inside), ('outdoor', outside)]
    }


def _scenes(file: Path, names: list[str]) -> list[str]:
    if file.suffix == '.npy':
        try:
            entries = [str(int(number)) for number in np.load(file, allow_pickle=False).ravel()]
        except (OSError, ValueError) as error:
            raise UserError(f'{file}: cannot read the list: {error}.') from error
    else:
        entries = read_list(file).split()
    by_name = {name: name for name in names}
    by_number = {str(number): name for number, name in enumerate(names, start=1)}
    numbers = all(entry.isdecimal() for entry in entries) and not any(entry in by_name for entry in entries)
    lookup = by_number if numbers else by_name
    chosen = [lookup.get(Path(entry).stem) for entry in entries]
    if not entries or None in chosen:
        what = repr(entries[chosen.index(None)]) if entries else 'nothing'
        raise UserError(f'{file}: {what} is neither the name of a test image nor a number from 1 to {len(names)}.')
    return chosen
