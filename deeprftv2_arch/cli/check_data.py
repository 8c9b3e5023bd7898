"""Look through a prepared data set before days of training rest on it.

    deeprftv2 check gopro --root datasets/GoPro [--lmdb]

decodes every image to the last pixel and reports whatever is not as it should be: numbers of images other than the
known ones, images without partner, unreadable or truncated files, sizes that do not fit, other bit depths, blurred
images that equal their sharp ones, pairs out of order (by the rule of `prepare.likeness.misfits`), LMDBs that differ
from their folders, and differences from the manifest. Nothing is changed.

Exit code: 0 if nothing was found, 1 if something was, 2 if the arguments are wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeprftv2_arch.cli.arguments import command_parser
from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.data.lmdb_store import pair_lmdbs
from deeprftv2_arch.prepare.expected import PairedFolders, expected_folders, parts_of
from deeprftv2_arch.prepare.inspection import Copies, Entry, Inspected, PairToInspect, compare_copies, inspect_pair
from deeprftv2_arch.prepare.layouts import image_files
from deeprftv2_arch.prepare.manifest import FILE, list_checksum, read_manifest
from deeprftv2_arch.prepare.similarity import misfits
from deeprftv2_arch.prepare.workers import default_workers, run_jobs
from deeprftv2_arch.utils.errors import UserError

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
    where, findings = root / FILE, []
    if manifest['set'] != name:
        raise UserError(f'{where} is of {manifest["set"]}, not of {name}.')
    if not manifest['complete']:
        findings.append(f'{where}: the preparation was interrupted. Run it again to complete it.')
    findings += [
        f'{root / entry["image"]}: left out when prepared: {entry["reason"]}' for entry in manifest['left_out']
    ]
    for folder, described in manifest['folders'].items():
        if (root / folder).is_dir():
            names = [file.name for file in image_files(root / folder)]
            if list_checksum(names) != described['list_sha256']:
                findings.append(
                    f'{root / folder}: {len(names):,} images, not the {described["images"]:,} that {FILE} has a '
                    'checksum of. Prepare the set again.'
                )
        elif not (root / f'{folder}.lmdb').is_dir():
            findings.append(f'{root / folder}: is in {FILE} and no longer there. Prepare the set again.')
    return findings


def _check_pairs(
    root: Path, folders: PairedFolders, manifest: Mapping[str, Any], lmdb: bool, workers: int
) -> list[str]:
    findings, entries = _find_entries(root, folders, lmdb)
    if entries is None:
        return findings
    items = [PairToInspect(*pair, folders.scale, folders.size, folders.whole) for pair in entries]
    if folders.pairs is not None and len(items) != folders.pairs:
        findings.append(f'{root / folders.degraded}: {len(items):,} pairs, there should be {folders.pairs:,}.')
    inspected = list(run_jobs(inspect_pair, items, workers=workers, label=folders.degraded))
    findings += [finding for result in inspected for finding in result.findings]
    findings += _check_depth(inspected, manifest.get('options', {}).get('bit_depth'))
    return findings + _check_order(items, inspected)


def _find_entries(root: Path, folders: PairedFolders, lmdb: bool) -> tuple[list[str], list[tuple[Entry, Entry]] | None]:
    """The pairs of two folders, or of two LMDBs where there are no folders."""
    paths = {role: root / role for role in (folders.degraded, folders.good)}
    missing = [path for path in paths.values() if not path.is_dir()]
    if missing and lmdb and all(Path(f'{path}.lmdb').is_dir() for path in paths.values()):
        degraded, good = (f'{path}.lmdb' for path in paths.values())
        try:
            return [], [(Entry(degraded, pair.lq), Entry(good, pair.gt)) for pair in pair_lmdbs(good, degraded)]
        except UserError as error:
            return [str(error)], None
    if missing:
        hint = ' There is an LMDB: add --lmdb.' if Path(f'{missing[0]}.lmdb').is_dir() and not lmdb else ''
        return [f'{path}: there is no such folder.{hint}' for path in missing], None
    findings, images = [], []
    for path in paths.values():
        named: dict[str, Entry] = {}
        for file in image_files(path):
            if file.stem in named:
                findings.append(f'{file}: {named[file.stem]} has the same name but for the extension.')
            named[file.stem] = Entry(str(file))
        findings += [f'{file}: not an image.' for file in _others(path)]
        images.append(named)
    degraded, good = images
    for mine, others, where in [(degraded, good, folders.good), (good, degraded, folders.degraded)]:
        findings += [f'{mine[stem]}: has no partner in {root / where}.' for stem in sorted(mine.keys() - others.keys())]
    return findings, [(degraded[stem], good[stem]) for stem in sorted(degraded.keys() & good.keys())]


def _others(folder: Path) -> list[Path]:
    images = set(image_files(folder))
    return [path for path in sorted(folder.iterdir()) if path not in images and not path.name.startswith('.')]


def _check_depth(inspected: Sequence[Inspected], expected: int | None) -> list[str]:
    """Report files of another depth than the manifest says; without one, than most files have."""
    bits = {name: depth for result in inspected for name, depth in result.bits.items()}
    if not bits:
        return []
    expected = expected or Counter(bits.values()).most_common(1)[0][0]
    return [
        f'{name}: {depth} bits per channel, expected {expected}.' for name, depth in bits.items() if depth != expected
    ]


def _check_order(items: Sequence[PairToInspect], inspected: Sequence[Inspected]) -> list[str]:
    seen = [(item, result.likeness) for item, result in zip(items, inspected, strict=True) if result.likeness]
    if not seen:
        return []
    wrong = misfits(*zip(*(likeness for _, likeness in seen), strict=True))
    return [
        f'{seen[misfit.index][0].degraded}: out of order: looks like {seen[misfit.better][0].good} (distance '
        f'{misfit.better_distance:.3f}), not like its partner (distance {misfit.distance:.3f}).'
        for misfit in wrong
    ]


def _check_lmdbs(root: Path, folders: Sequence[PairedFolders], manifest: Mapping[str, Any], workers: int) -> list[str]:
    gone = [name for name in manifest.get('lmdb', ()) if not (root / name).is_dir()]
    findings = [f'{root / name}: is in {FILE} and not there.' for name in gone]
    stored = [f for f in folders if any((root / f'{name}.lmdb').is_dir() for name in (f.degraded, f.good))]
    if not stored and not findings:
        return [f'{root}: has no LMDB ({folders[0].degraded}.lmdb and so on). Prepare it with --lmdb.']
    for pair in stored:
        try:
            keys = {entry.gt for entry in pair_lmdbs(f'{root / pair.good}.lmdb', f'{root / pair.degraded}.lmdb')}
        except UserError as error:
            findings.append(str(error))
            continue
        for name in (pair.degraded, pair.good):
            if (root / name).is_dir():
                findings += _compare_with_folder(root / name, keys, workers)
    return findings


def _compare_with_folder(folder: Path, keys: set[str], workers: int) -> list[str]:
    database = f'{folder}.lmdb'
    files = {file.stem: file for file in image_files(folder)}
    findings = [f'{files[stem]}: is not in {database}.' for stem in sorted(files.keys() - keys)]
    findings += [f'{database}, key {key!r}: has no file in {folder}.' for key in sorted(keys - files.keys())]
    items = [Copies(Entry(str(files[key])), Entry(database, key)) for key in sorted(files.keys() & keys)]
    return findings + list(filter(None, run_jobs(compare_copies, items, workers=workers, label=Path(database).name)))


def main(arguments: list[str] | None = None) -> int:
    """Command line: print every finding, and a summary at the end.

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
    parser.add_argument('--root', type=Path, required=True, help='its folder, such as datasets/GoPro')
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
