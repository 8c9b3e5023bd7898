"""DPDD (Abuolaim and Brown, ECCV 2020): defocused and sharp photographs of a camera on a tripod, 16 bit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deeprftv2_arch.prepare.crops import Crops
from deeprftv2_arch.prepare.layouts import flat_folders, image_files, pair_by_name, roots, wrong_layout
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.list_file import position, read_list_file, read_numbered, ways_to_split
from deeprftv2_arch.utils.natural_sort import natural_sort_key

PARTS = ('train', 'val', 'test')
CROPS = Crops(size=512, step=204, drop=0.3)
"""28 windows of each image of 1680x1120, of which the 20 with most detail are kept."""


def find(
    source: Path, part: str, *, pairs_file: Path | None = None, alone: list[str] | None = None
) -> tuple[str, list[Pair]]:
    """Find the pairs of a part, of the combined view of the camera, in the original layout or in a flat copy.

    In the original, the two photographs of a scene have different numbers; they belong together by their order.

    Args:
        source: The download.
        part: train, val or test.
        pairs_file: Lines with the names of a blurred and of a sharp image, which then decide.
        alone: Filled with the files that have no partner; None to refuse them.

    Returns:
        The name of the layout, with ``by order`` if the order decided, and the pairs.

    Raises:
        UserError: If nothing is found, or the folders hold different numbers of images.
    """
    for root in roots(source):
        folder = root / f'{part}_c'
        if (folder / 'source').is_dir() and (folder / 'target').is_dir():
            return _paired('original', folder / 'source', folder / 'target', pairs_file, alone)
    folders = flat_folders(source, part, ('DPDD',))
    if folders:
        return _paired('flat', *folders, pairs_file, alone)
    raise wrong_layout(source, 'DPDD', part, (f'{part}_c/{{source,target}}', f'{part}/DPDD/{{inputC,target}}'))


def _paired(
    layout: str, blur_folder: Path, sharp_folder: Path, pairs_file: Path | None, alone: list[str] | None
) -> tuple[str, list[Pair]]:
    blur, sharp = _in_order(blur_folder), _in_order(sharp_folder)
    if pairs_file:
        return layout, _listed(pairs_file, blur, sharp, alone)
    if {file.stem for file in blur} & {file.stem for file in sharp}:
        return layout, pair_by_name(blur, sharp, blur_folder.parent, alone=alone)
    if len(blur) != len(sharp):
        raise UserError(
            f'{blur_folder} holds {len(blur)} images, {sharp_folder} {len(sharp)}. Names differ, so they can only be '
            'paired by order or by a list. Complete the download, or give --pairs FILE.'
        )
    return f'{layout}, paired by order', [Pair(b.stem, b, s) for b, s in zip(blur, sharp, strict=True)]


def _in_order(folder: Path) -> list[Path]:
    return sorted(image_files(folder), key=lambda file: natural_sort_key(file.name))


def _listed(file: Path, blur_files: Sequence[Path], sharp_files: Sequence[Path], alone: list[str] | None) -> list[Pair]:
    """Pair images by the lines of a file; lines about images of other parts are passed over."""
    blur = {path.name: path for path in blur_files}
    sharp = {path.name: path for path in sharp_files}
    unlisted = {*blur, *sharp}
    pairs = []
    for number, line in read_numbered(file).items():
        ways = list(ways_to_split(line))
        fitting = [names for names in ways if names[0] in blur and names[1] in sharp]
        if not fitting and len(ways) != 1:
            raise UserError(f'{file}, line {number}: expected a blurred and a sharp image, got {line!r}.')
        blurred, clear = (fitting or ways)[0]
        if blurred not in blur and clear not in sharp:
            continue
        if (blurred not in blur or clear not in sharp) and alone is not None:
            continue
        if blurred not in blur or clear not in sharp:
            absent = clear if blurred in blur else blurred
            raise UserError(f'{file}, line {number}: there is no {absent} beside its partner.')
        pairs.append(Pair(Path(blurred).stem, blur[blurred], sharp[clear]))
        unlisted -= {blurred, clear}
    if unlisted and alone is not None:
        alone += sorted(unlisted)
    elif unlisted:
        raise UserError(f'{file} does not name {min(unlisted)}. Every image must stand in one line of it.')
    return pairs


def scene_lists(pairs: list[Pair], indoor: Path | None, outdoor: Path | None) -> dict[str, str]:
    """Compose lists of the indoor and the outdoor test images, from the lists that a user has.

    A list is a text file of names or of numbers, or a NumPy file of numbers. Numbers count from 1 through the sorted
    names, as in the label files that are distributed with DPDD. Where one list is given, the other one is the rest.

    Returns:
        The text of each list file, a name in a line, by its path below the prepared folder; empty without lists.

    Raises:
        UserError: If a list cannot be read, names what is not there, or if the two overlap or leave images out.
    """
    if indoor is None and outdoor is None:
        return {}
    names = sorted((pair.name for pair in pairs), key=natural_sort_key)
    everything = set(names)
    outside = None if outdoor is None else _scenes(outdoor, names)
    inside = everything - (outside or set()) if indoor is None else _scenes(indoor, names)
    if outside is None:
        outside = everything - inside
    odd = (inside & outside) | (everything - inside - outside)
    if odd:
        raise UserError(f'{indoor} and {outdoor} must share out the test images; {min(odd)} is in both or in neither.')
    return {'test/indoor.txt': _as_lines(names, inside), 'test/outdoor.txt': _as_lines(names, outside)}


def _as_lines(names: Sequence[str], chosen: set[str]) -> str:
    return ''.join(f'{name}\n' for name in names if name in chosen)


def _scenes(file: Path, names: Sequence[str]) -> set[str]:
    """Read a list of test images, by name or by number."""
    lines = read_list_file(file)
    known = set(names)
    # Several names may share a line, and a name may have blanks in it.
    entries = lines if all(_stem(line) in known for line in lines) else ' '.join(lines).split()
    positions = [position(entry) for entry in entries]
    by_number = all(positions) and not any(entry in known for entry in entries)
    chosen = set()
    for entry, number in zip(entries, positions, strict=True):
        if by_number and number is not None and number <= len(names):
            chosen.add(names[number - 1])
        elif not by_number and _stem(entry) in known:
            chosen.add(_stem(entry))
        else:
            raise _unknown_scene(file, repr(entry), names)
    if not chosen:
        raise _unknown_scene(file, 'nothing', names)
    return chosen


def _stem(name: str) -> str:
    return Path(name).stem


def _unknown_scene(file: Path, entry: str, names: Sequence[str]) -> UserError:
    return UserError(f'{file}: {entry} is neither the name of a test image nor a number from 1 to {len(names)}.')
