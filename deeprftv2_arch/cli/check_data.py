"""Look through a prepared data set before days of training rest on it.

    deeprftv2 check gopro --root datasets/GoPro [--lmdb]

decodes every image to the last pixel and reports whatever is not as it should be: numbers of images other than the
known ones, images without partner, unreadable or truncated files, sizes that do not fit, other bit depths, blurred
images that equal their sharp ones, pairs out of order (`prepare.similarity.mismatched_pairs` has the rule), LMDBs that
differ from their folders, and differences from the manifest. Nothing is changed.

Exit code: 0 if nothing was found, 1 if something was, 2 if the arguments are wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.data.lmdb_store import pair_lmdbs
from deeprftv2_arch.prepare.expected import PairedFolders, exists, expected_folders, parts_of
from deeprftv2_arch.prepare.inspection import Copies, Entry, Inspected, PairToInspect, compare_copies, inspect_pair
from deeprftv2_arch.prepare.layouts import image_files
from deeprftv2_arch.prepare.manifest import FILE, list_checksum, read_manifest
from deeprftv2_arch.prepare.similarity import mismatched_pairs
from deeprftv2_arch.prepare.workers import default_workers, run_jobs
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.paths import argument as path_argument

NAMES = (*(name for name in KNOWN_SETS if name != 'flickr2k'), 'srbench')
CLEAN, FOUND = 0, 1


def check(
    name: str, root: Path, *, parts: Sequence[str] | None = None, lmdb: bool = False, workers: int = 1
) -> list[str]:
    """Look through a prepared set.

    Args:
        name: One of ``NAMES``.
        root: Where it lies.
        parts: Only these; by default those of the manifest, or all.
        lmdb: Whether to look into LMDBs and compare them with their folders.
        workers: Number of processes.

    Returns:
        The findings, a sentence each that names the file. Empty if all is well.

    Raises:
        UserError: If there is no such folder or part, or the manifest cannot be read.
    """
    if not root.is_dir():
        raise UserError(f'--root {root}: there is no such folder. Prepare the data first (datasets/README.md).')
    manifest = read_manifest(root) or {}
    findings = _check_manifest(name, root, manifest)
    folders = expected_folders(name, root, parts or list(manifest.get('counts', ())) or parts_of(name))
    for pair in folders:
        findings += _check_pairs(root, pair, manifest, lmdb, workers)
    if lmdb:
        findings += _check_lmdbs(root, folders, manifest, workers)
    return findings


def _check_manifest(name: str, root: Path, manifest: Mapping[str, Any]) -> list[str]:
    if not manifest:
        return []
    file = root / FILE
    findings = []
    if manifest['set'] != name:
        raise UserError(f'{file} is of {manifest["set"]}, not of {name}.')
    if not manifest['complete']:
        findings.append(f'{file}: the preparation was interrupted. Run it again to complete it.')
    for entry in manifest['left_out']:
        findings.append(f'{root / entry["image"]}: left out when prepared: {entry["reason"]}')
    for folder, described in manifest['folders'].items():
        findings += _check_described(root, folder, described)
    return findings


def _check_described(root: Path, folder: str, described: Mapping[str, Any]) -> list[str]:
    """Compare the names in a folder with the checksum in the manifest."""
    if not exists(root, folder):
        return [f'{root / folder}: is in {FILE} and no longer there. Prepare the set again.']
    if not (root / folder).is_dir():
        return []  # an LMDB, which has no such checksum
    names = [file.name for file in image_files(root / folder)]
    if list_checksum(names) == described['list_sha256']:
        return []
    return [
        f'{root / folder}: {len(names):,} images, not the {described["images"]:,} that {FILE} has a checksum of. '
        'Prepare the set again.'
    ]


def _check_pairs(
    root: Path, folders: PairedFolders, manifest: Mapping[str, Any], lmdb: bool, workers: int
) -> list[str]:
    findings, entries = _find_entries(root, folders, lmdb)
    if entries is None:
        return findings
    items = [PairToInspect(lq, gt, folders.scale, folders.size, folders.whole) for lq, gt in entries]
    if folders.pairs is not None and len(items) != folders.pairs:
        findings.append(f'{root / folders.lq}: {len(items):,} pairs, there should be {folders.pairs:,}.')
    inspected = list(run_jobs(inspect_pair, items, workers=workers, label=folders.lq))
    for result in inspected:
        findings += result.findings
    findings += _check_depth(inspected, manifest.get('options', {}).get('bit_depth'))
    findings += _check_order(items, inspected)
    return findings


Pairs = list[tuple[Entry, Entry]]
"""Entries of lq and gt that belong together."""


def _find_entries(root: Path, folders: PairedFolders, lmdb: bool) -> tuple[list[str], Pairs | None]:
    """Find the pairs of two folders, or of two LMDBs where there are no folders.

    Returns:
        Findings, and the pairs, or None if there is nothing to look into.
    """
    paths = [root / folders.lq, root / folders.gt]
    missing = [path for path in paths if not path.is_dir()]
    if not missing:
        return _entries_of_folders(*paths)
    if lmdb and all(_database(path).is_dir() for path in paths):
        return _entries_of_lmdbs(*paths)
    hint = ''
    if not lmdb and _database(missing[0]).is_dir():
        hint = ' There is an LMDB: add --lmdb.'
    return [f'{path}: there is no such folder.{hint}' for path in missing], None


def _database(folder: Path) -> Path:
    return folder.with_name(f'{folder.name}.lmdb')


def _entries_of_lmdbs(lq_folder: Path, gt_folder: Path) -> tuple[list[str], Pairs | None]:
    lq, gt = str(_database(lq_folder)), str(_database(gt_folder))
    try:
        return [], [(Entry(lq, pair.lq), Entry(gt, pair.gt)) for pair in pair_lmdbs(gt, lq)]
    except UserError as error:
        return [str(error)], None


def _entries_of_folders(lq_folder: Path, gt_folder: Path) -> tuple[list[str], Pairs]:
    lq, findings = _by_stem(lq_folder)
    gt, more = _by_stem(gt_folder)
    findings += more
    for stem in sorted(lq.keys() - gt.keys()):
        findings.append(f'{lq[stem]}: has no partner in {gt_folder}.')
    for stem in sorted(gt.keys() - lq.keys()):
        findings.append(f'{gt[stem]}: has no partner in {lq_folder}.')
    return findings, [(lq[stem], gt[stem]) for stem in sorted(lq.keys() & gt.keys())]


def _by_stem(folder: Path) -> tuple[dict[str, Entry], list[str]]:
    """List the images of a folder by stem, and whatever else lies there as findings."""
    findings = []
    images: dict[str, Entry] = {}
    files = image_files(folder)
    for file in files:
        if file.stem in images:
            findings.append(f'{file}: {images[file.stem]} has the same name but for the extension.')
        images[file.stem] = Entry(str(file))
    for path in sorted(set(folder.iterdir()) - set(files)):
        if not path.name.startswith('.'):
            findings.append(f'{path}: not an image.')
    return images, findings


def _check_depth(inspected: Sequence[Inspected], expected: int | None) -> list[str]:
    """Report files of another depth than the manifest says; without one, than most files have."""
    bits: dict[str, int] = {}
    for result in inspected:
        bits |= result.bits
    if not bits:
        return []
    if not expected:
        expected, _ = Counter(bits.values()).most_common(1)[0]
    odd = {name: depth for name, depth in bits.items() if depth != expected}
    return [f'{name}: {depth} bits per channel, expected {expected}.' for name, depth in odd.items()]


def _check_order(items: Sequence[PairToInspect], inspected: Sequence[Inspected]) -> list[str]:
    seen: list[PairToInspect] = []
    lq: list[np.ndarray] = []
    gt: list[np.ndarray] = []
    for item, result in zip(items, inspected, strict=True):
        if result.thumbnails is not None:
            seen.append(item)
            lq.append(result.thumbnails[0])
            gt.append(result.thumbnails[1])
    if not seen:
        return []
    findings = []
    for wrong in mismatched_pairs(lq, gt):
        findings.append(
            f'{seen[wrong.pair].lq}: out of order: looks like {seen[wrong.better].gt} (distance '
            f'{wrong.better_distance:.3f}), not like its partner (distance {wrong.distance:.3f}).'
        )
    return findings


def _check_lmdbs(root: Path, folders: Sequence[PairedFolders], manifest: Mapping[str, Any], workers: int) -> list[str]:
    findings = []
    for name in manifest.get('lmdb', ()):
        if not (root / name).is_dir():
            findings.append(f'{root / name}: is in {FILE} and not there.')
    stored = [pair for pair in folders if any(_database(root / name).is_dir() for name in (pair.lq, pair.gt))]
    if not stored and not findings:
        return [f'{root}: has no LMDB ({folders[0].lq}.lmdb and so on). Prepare it with --lmdb.']
    for pair in stored:
        lq, gt = root / pair.lq, root / pair.gt
        try:
            keys = {entry.gt for entry in pair_lmdbs(str(_database(gt)), str(_database(lq)))}
        except UserError as error:
            findings.append(str(error))
            continue
        for folder in (lq, gt):
            if folder.is_dir():
                findings += _compare_with_folder(folder, keys, workers)
    return findings


def _compare_with_folder(folder: Path, keys: set[str], workers: int) -> list[str]:
    database = str(_database(folder))
    files = {file.stem: file for file in image_files(folder)}
    findings = [f'{files[stem]}: is not in {database}.' for stem in sorted(files.keys() - keys)]
    findings += [f'{database}, key {key!r}: has no file in {folder}.' for key in sorted(keys - files.keys())]
    items = [Copies(Entry(str(files[key])), Entry(database, key)) for key in sorted(files.keys() & keys)]
    for difference in run_jobs(compare_copies, items, workers=workers, label=Path(database).name):
        if difference:
            findings.append(difference)
    return findings


def main(arguments: list[str] | None = None) -> int:
    """Print every finding, and a summary at the end.

    Returns:
        0 if nothing was found, else 1.

    Raises:
        UserError: If the arguments are wrong.
    """
    parser = command_parser(
        'check',
        'Look through a prepared data set: every image is decoded, every finding named. Exit code: 0 if nothing was '
        'found, 1 if something was.',
        'gopro --root datasets/GoPro --lmdb',
    )
    parser.add_argument('name', choices=NAMES, help='the data set; srbench for the five super-resolution sets')
    parser.add_argument('--root', type=path_argument, required=True, help='its folder, such as datasets/GoPro')
    parser.add_argument('--parts', nargs='+', metavar='PART', help='only these (default: those prepared, or all)')
    parser.add_argument('--lmdb', action='store_true', help='look into LMDBs too and compare them with the folders')
    parser.add_argument('--workers', type=int, default=default_workers(), help='processes (default: %(default)s)')
    args = parser.parse_args(arguments)
    if args.workers < 1:
        raise UserError(f'--workers {args.workers}: at least one process is needed.')
    findings = check(args.name, args.root, parts=args.parts, lmdb=args.lmdb, workers=args.workers)
    for finding in findings:
        print(finding)
    if not read_manifest(args.root):
        print(f'Note: {args.root} has no {FILE}, so it was not made by `deeprftv2 prepare`.')
    print(f'{args.root}: {len(findings)} finding(s).' if findings else f'{args.root}: all is well.')
    return FOUND if findings else CLEAN
