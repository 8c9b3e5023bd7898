"""Finding folders and pairing files, in the layouts in which downloads and their copies come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from deeprftv2_arch.data.image_file import IMAGE_SUFFIXES
from deeprftv2_arch.data.pairing import shorten
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import walk

FLAT_NAMES = (('blur', 'sharp'), ('input', 'target'), ('inputC', 'target'), ('input', 'gt'), ('lq', 'gt'))
"""Names of the folders of blurred and of sharp images in copies with one folder each."""


def image_files(folder: Path) -> list[Path]:
    """List the images of a folder, sorted by name; hidden files are no images.

    Raises:
        UserError: If the folder cannot be read.
    """
    files = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                suffix = os.path.splitext(entry.name)[1].lower()
                if suffix in IMAGE_SUFFIXES and not entry.name.startswith('.') and entry.is_file():
                    files.append(Path(entry.path))
    except OSError as error:
        raise UserError(f'{folder}: cannot read the folder: {error.strerror or error}.') from error
    return sorted(files)


def photographs_below(folder: Path) -> list[Path]:
    """The images of a folder and all its sub-folders, sorted by path; hidden files and folders are passed over."""
    found = []
    for place, folders, _ in walk(folder):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found += image_files(Path(place))
    return sorted(found)


def sub_folders(folder: Path) -> list[Path]:
    """List the folders in a folder, sorted by name, without hidden ones; none if there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


def roots(source: Path) -> list[Path]:
    """List where a layout may start: the given folder, or one folder below it, as archives tend to add one."""
    return [source, *sub_folders(source)]


def flat_folders(source: Path, part: str, aliases: Sequence[str]) -> tuple[Path, Path] | None:
    """Find the two folders of a part in the flat layouts of the community.

    Args:
        source: The download.
        part: train, val or test. A folder of pairs that names no part is a test set.
        aliases: Names of the set's own folder, as ``HIDE`` in ``test/HIDE/{input,target}``.

    Returns:
        The folders of the blurred and the sharp images, or None if there are none.

    Raises:
        UserError: If there is more than one such pair of folders.
    """
    bases = [source / part]
    for alias in aliases:
        bases += [source / part / alias, source / alias / part]
    if part == 'test':
        bases += [source, *(source / alias for alias in aliases)]
    found = []
    for base in dict.fromkeys(bases):
        for blur, sharp in FLAT_NAMES:
            both = (base / blur).is_dir() and (base / sharp).is_dir()
            if both and image_files(base / sharp):
                found.append((base / blur, base / sharp))
    if len(found) > 1:
        folders = ', '.join(str(blur) for blur, _ in found)
        raise UserError(
            f'{source}: several folders could be the {part} part ({folders}). Give one of them as --source.'
        )
    return found[0] if found else None


def _stem(file: Path) -> str:
    return file.stem


def pair_folders(
    blur: Path, sharp: Path, name: Callable[[Path], str] = _stem, *, alone: list[str] | None = None
) -> list[Pair]:
    """Pair the images of two folders that lie beside each other, see :func:`pair_by_name`."""
    return pair_by_name(image_files(blur), image_files(sharp), where=blur.parent, name=name, alone=alone)


def pair_by_name(
    blur: Iterable[Path],
    sharp: Iterable[Path],
    where: Path,
    name: Callable[[Path], str] = _stem,
    *,
    alone: list[str] | None = None,
) -> list[Pair]:
    """Pair files by name, by default without extension.

    Args:
        blur: Blurred images.
        sharp: Sharp images.
        where: The folder to name in a message.
        name: Gives the name that both images of a pair have in common, which becomes their stem.
        alone: Filled with the files that have no partner; None to refuse them.

    Returns:
        The pairs, sorted by name.

    Raises:
        UserError: If two files of a kind have the same name, or if a file has no partner.
    """
    blurred, clear = _by_name(blur, name), _by_name(sharp, name)
    leave_out(unpaired(blurred, clear), alone, f'{where}: {{}} images have no partner of the same name')
    return [Pair(stem, blurred[stem], clear[stem]) for stem in sorted(clear.keys() & blurred.keys())]


def leave_out(files: Sequence[str], alone: list[str] | None, message: str) -> None:
    """Note files that are left out of an incomplete set, or refuse them.

    Args:
        files: What cannot be used.
        alone: The list to note them in; None to refuse them.
        message: What is wrong with them, with ``{}`` in the place of their number.

    Raises:
        UserError: There are such files, and ``alone`` is None.
    """
    if files and alone is None:
        raise UserError(
            f'{message.format(len(files))} ({shorten(files)}). Complete the download, or add --allow-incomplete to go '
            'on without them.'
        )
    if alone is not None:
        alone += files


def unpaired(first: Mapping[str, Path], second: Mapping[str, Path]) -> list[str]:
    """List the files of either kind, by name, that have no partner of the other kind."""
    alone = [str(first[name]) for name in first.keys() - second.keys()]
    alone += [str(second[name]) for name in second.keys() - first.keys()]
    return sorted(alone)


def _by_name(files: Iterable[Path], name: Callable[[Path], str]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for file in files:
        key = name(file)
        if key in named:
            raise UserError(f'{named[key]} and {file} would both become {key}. Remove the one that does not belong.')
        named[key] = file
    return named


def wrong_layout(source: Path, title: str, part: str, layouts: Sequence[str]) -> UserError:
    """Make the error for a download in which nothing was recognised: what was looked for, and what is there."""
    names = []
    for entry in sorted(source.iterdir()):
        names.append(f'{entry.name}/' if entry.is_dir() else entry.name)
    lmdbs = sorted(str(path.parent) for path in source.glob('*/*.lmdb/data.mdb'))
    hint = ''
    if lmdbs:
        hint = f' {shorten(lmdbs)} are LMDBs already: name them in the option file with io_backend.type: lmdb.'
    return UserError(
        f'{source}: no {part} part of {title} found. Looked for {" or ".join(layouts)}; there is '
        f'{shorten(names) or "nothing"}.{hint} Give the folder of the unpacked download as --source, or choose '
        'other --parts.'
    )
