"""Which blurred image belongs to which sharp one, by file name or by list."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from basicsr.utils.logger import get_root_logger

from deeprftv2_arch.data.image_file import IMAGE_SUFFIXES
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.list_file import read_numbered, ways_to_split
from deeprftv2_arch.utils.paths import walk

_SHOWN = 3
"""How many names a message lists before it only counts."""

_SHAPE_AND_LEVEL = re.compile(r'\s+\(\d+,\s*\d+(,\s*\d+)?\)(\s+\d+)?$')
"""The ``(720,1280,3) 1`` that BasicSR's meta files put after a name."""


class ImagePair(NamedTuple):
    """Where the two images of a pair are: two paths, or the same LMDB key twice."""

    lq: str
    gt: str


def pair_folders(gt_root: str, lq_root: str, *, template: str = '{}', recursive: bool = False) -> list[ImagePair]:
    """Pair two folders by file stem; the extensions may differ.

    Args:
        gt_root: Folder of the sharp images.
        lq_root: Folder of the blurred images.
        template: Stem of a blurred image given the stem of the sharp one, as ``filename_tmpl`` of BasicSR.
        recursive: Whether to take sub-folders too; their names are then part of what must agree.

    Returns:
        The pairs, sorted by the name of the sharp image.

    Raises:
        UserError: If a folder is missing or holds no image, if two images of one folder have the same stem, or if
            images are left without partner.
    """
    gt = _images_by_stem(gt_root, 'dataroot_gt', recursive)
    lq = _images_by_stem(lq_root, 'dataroot_lq', recursive)
    partner = {stem: _fill_template(template, stem) for stem in gt}
    alone_gt = [gt[stem] for stem, name in partner.items() if name not in lq]
    alone_lq = [lq[name] for name in lq.keys() - set(partner.values())]
    if alone_gt or alone_lq:
        parts = [
            f'{len(alone)} {kind} without partner in {root} ({shorten(sorted(alone))})'
            for alone, kind, root in [(alone_gt, 'sharp', lq_root), (alone_lq, 'blurred', gt_root)]
            if alone
        ]
        raise UserError(
            f'Images without partner: {"; ".join(parts)}. Pairs are made by file name without extension: add or remove '
            'images until every name stands in both folders, or give a list of pairs as meta_info_file.'
        )
    return [ImagePair(lq=lq[partner[stem]], gt=gt[stem]) for stem in sorted(gt)]


def pair_list(gt_root: str, lq_root: str, list_file: str, *, template: str = '{}') -> list[ImagePair]:
    """Pair two folders by a list file.

    A line names the sharp image and, after white space, the blurred one, each relative to its root. A line with one
    name stands for the same name in both folders, through ``template``. Names may have blanks in them: what exists
    decides. The image shape that BasicSR writes after the name, such as ``(480,480,3)``, is skipped; so are empty
    lines.

    Returns:
        The pairs in the order of the list.

    Raises:
        UserError: If the list or a listed image is missing, or if a line cannot be read, or in two ways.
    """
    pairs = []
    missing = []
    for number, line in _lines(list_file, 'meta_info_file'):
        text = _SHAPE_AND_LEVEL.sub('', line)
        ways = [(text, _fill_template(template, *os.path.splitext(text))), *ways_to_split(text)]
        read = [ImagePair(lq=os.path.join(lq_root, lq), gt=os.path.join(gt_root, gt)) for gt, lq in ways]
        found = [pair for pair in read if os.path.isfile(pair.gt) and os.path.isfile(pair.lq)]
        if len(found) > 1:
            raise UserError(
                f'{list_file}, line {number}: {line!r} can be read in two ways: {found[0].gt} with {found[0].lq}, or '
                f'{found[1].gt} with {found[1].lq}. Put a tab between the two names.'
            )
        if found:
            pairs += found
            continue
        likely = [pair for pair in read if os.path.isfile(pair.gt) or os.path.isfile(pair.lq)]
        if len(read) > 2 and not likely:
            raise UserError(
                f'{list_file}, line {number}: expected one or two names, got {line!r}. Wherever it is parted, there '
                f'are no such images in {gt_root} and {lq_root}.'
            )
        missing += [path for path in (likely or read[-1:])[0] if not os.path.isfile(path)]
    if missing:
        raise UserError(
            f'{list_file} lists {len(missing)} images that do not exist ({shorten(missing)}). Paths in the list are '
            'relative to dataroot_gt and dataroot_lq, and a line holds one name or two, parted by a blank.'
        )
    return pairs


def lmdb_keys(root: str, option: str) -> list[str]:
    """Read the keys of an LMDB from the ``meta_info.txt`` that BasicSR writes beside the data.

    Raises:
        UserError: If the folder, the meta file or the data file is missing, or if the meta file lists nothing.
    """
    _check_folder(root, option)
    for name in ('meta_info.txt', 'data.mdb'):
        if not os.path.isfile(os.path.join(root, name)):
            raise UserError(
                f'{option}: {root} has no {name}, so it is not a complete LMDB. Make it again, or set io_backend.type: '
                'disk for a folder of images.'
            )
    lines = _lines(os.path.join(root, 'meta_info.txt'), option)
    return [os.path.splitext(_SHAPE_AND_LEVEL.sub('', line))[0] for _, line in lines]


def lmdb_sizes(root: str) -> dict[str, tuple[int, int]]:
    """Read height and width of the images of an LMDB from its meta file, by their keys; without those it does not tell.

    Raises:
        UserError: The file cannot be read.
    """
    sizes = {}
    for _, line in _lines(os.path.join(root, 'meta_info.txt'), root):
        shape = _SHAPE_AND_LEVEL.search(line)
        if shape:
            height, width = re.findall(r'\d+', shape[0])[:2]
            sizes[os.path.splitext(line[: shape.start()])[0]] = (int(height), int(width))
    return sizes


def shorten(names: Collection[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ', '.join(list(names)[:_SHOWN])
    return f'{shown}, ...' if len(names) > _SHOWN else shown


def _images_by_stem(root: str, option: str, recursive: bool) -> dict[str, str]:
    """Map the path below ``root`` without extension, with forward slashes, to the full path."""
    _check_folder(root, option)
    images: dict[str, str] = {}
    others: list[str] = []
    for path in _files(root, recursive):
        stem, extension = os.path.splitext(os.path.relpath(path, root) if recursive else os.path.basename(path))
        if extension.lower() not in IMAGE_SUFFIXES:
            others.append(path)
            continue
        stem = stem.replace(os.sep, '/')
        if stem in images:
            raise UserError(f'{option}: {images[stem]} and {path} differ only in extension. Remove one of them.')
        images[stem] = path
    if not images:
        suffixes = ', '.join(sorted(IMAGE_SUFFIXES))
        raise UserError(f'{option}: {root} holds no images ({suffixes}).{_hint(root, recursive)}')
    if others:
        get_root_logger().warning(
            f'{root}: left out {len(others)} files that are not images: {shorten(sorted(others))}'
        )
    return images


def _files(root: str, recursive: bool) -> Iterator[str]:
    """All files but hidden ones, which operating systems leave everywhere."""
    for folder, folders, files in walk(root):
        yield from (os.path.join(folder, file) for file in files if not file.startswith('.'))
        if not recursive:
            folders.clear()


def _check_folder(root: str, option: str) -> None:
    if not os.path.isdir(root):
        raise UserError(
            f'{option}: there is no folder {root!r}. Correct the path in the option file, or prepare the data.'
        )


def _hint(root: str, recursive: bool) -> str:
    with os.scandir(root) as entries:
        names = {entry.name: entry.is_dir() for entry in entries}
    if 'data.mdb' in names:
        return ' It is an LMDB: set io_backend.type: lmdb.'
    if any(names.values()) and not recursive:
        return ' It has sub-folders: set recursive: true to take them too.'
    return ''


def _fill_template(template: str, stem: str, extension: str = '') -> str:
    folder, name = os.path.split(stem)
    return '/'.join(filter(None, [folder, template.format(name)])) + extension


def _lines(file: str, option: str) -> list[tuple[int, str]]:
    lines = read_numbered(file, option)
    if not lines:
        raise UserError(f'{option}: {file} lists nothing.')
    return list(lines.items())
