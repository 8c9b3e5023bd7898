"""Carrying out a plan: files first, then databases, then the manifest. Interrupted, it goes on where it was."""

from __future__ import annotations

import functools
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deeprftv2_arch._version import __version__
from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.data.pairing import shorten
from deeprftv2_arch.prepare.lmdb_writer import write_lmdb
from deeprftv2_arch.prepare.manifest import FILE, FORMAT, describe_folder, read_manifest, write_manifest
from deeprftv2_arch.prepare.plan import JobResult, OutputDirs, OutputFile, Plan
from deeprftv2_arch.prepare.similarity import mismatched_pairs
from deeprftv2_arch.prepare.workers import run_jobs
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.run_lock import RunLock

_SHOWN = 10
"""How many faulty images a message names before it only counts."""


def execute_plan(
    plan: Plan, source: Path, out: Path, *, workers: int, lmdb: bool = False, allow_incomplete: bool = False
) -> dict[str, Any]:
    """Make everything that a plan names and that is not there yet.

    Args:
        plan: Files to make.
        source: Folder of the download; nothing there is changed.
        out: Folder to fill.
        workers: Number of processes.
        lmdb: Whether to make the databases too. Those that are there already are brought up to date in any case.
        allow_incomplete: Go on with other numbers of images than known, and without images that cannot be used. The
            manifest says so.

    Returns:
        The manifest.

    Raises:
        UserError: If counts are wrong, images cannot be used, or ``out`` holds something else.
    """
    _check_counts(plan, source, allow_incomplete)
    _check_out(plan, source, out)
    with _locked(out), _output_dirs(out) as dirs:
        before = _check_out(plan, source, out)  # as the run that had the folder before has left it
        manifest = _start(plan, source, before, allow_incomplete)
        write_manifest(out, manifest)
        job = functools.partial(plan.job, dirs=dirs)
        results = list(run_jobs(job, plan.items, workers=workers, label=plan.name))
        left_out = _check_results(plan, results, allow_incomplete)
        folders = _by_folder(results)
        _refuse_unexpected_files(out, folders)
        for file, text in plan.texts.items():
            write_atomically(out / file, text)
        databases, packed = _pack(plan, folders, dirs, lmdb)
        described = {folder: describe_folder(out, files) for folder, files in sorted(folders.items())}
        manifest['complete'] = True
        manifest['left_out'] += [*plan.left_out, *left_out]
        manifest['folders'] = dict(sorted({**manifest['folders'], **described}.items()))
        kept = [name for name in manifest['lmdb'] if (out / name).is_dir()]
        manifest['lmdb'] = sorted({*kept, *(f'{folder}.lmdb' for folder in databases)})
        write_manifest(out, manifest)
    _report(out, described, databases, sum(result.written for result in results), packed)
    _tell_left_out([*plan.left_out, *left_out])
    return manifest


def _pack(
    plan: Plan, folders: Mapping[str, Sequence[OutputFile]], dirs: OutputDirs, lmdb: bool
) -> tuple[list[str], int]:
    """Make or update databases.

    Returns:
        The folders that have one, and how many databases were written now.
    """
    databases = []
    packed = 0
    for folder, files in folders.items():
        wanted = lmdb and folder in plan.lmdb_folders
        # Databases that an earlier run made are kept up to date with their folders.
        if wanted or (dirs.out / f'{folder}.lmdb').is_dir():
            databases.append(folder)
            packed += write_lmdb(folder, files, dirs)
    return databases, packed


def _check_counts(plan: Plan, source: Path, allow_incomplete: bool) -> None:
    if allow_incomplete:
        return
    wrong = []
    for part, (found, expected) in plan.counts.items():
        if expected is not None and found != expected:
            wrong.append(f'{found:,} in {part}, where there should be {expected:,}')
    if wrong:
        title = KNOWN_SETS[plan.name].title if plan.name in KNOWN_SETS else plan.name
        raise UserError(
            f'{source}: {title}: found {"; ".join(wrong)}. Complete the download, or add --allow-incomplete to go on '
            'with what there is.'
        )


def _check_out(plan: Plan, source: Path, out: Path) -> dict[str, Any] | None:
    """Refuse an output folder that is the source's or holds anything that this command did not make.

    Returns:
        The manifest of an earlier run, if there was one.
    """
    inside, target = source.resolve(), out.resolve()
    if target.is_relative_to(inside):
        raise UserError(f'--out {out} lies in --source {source}, where nothing is to be changed. Name another folder.')
    if any(inside.is_relative_to(target / folder) for folder in plan.folders):
        raise UserError(f'--source {source} lies where --out {out} puts its files. Name another folder as --out.')
    before = read_manifest(out)
    if before is None:
        _refuse_existing(plan, out)
        return None
    if before['set'] != plan.name:
        raise UserError(f'{out} holds the prepared set {before["set"]}, not {plan.name}. Name another folder as --out.')
    for key, value in plan.options.items():
        if before['options'].get(key) != value:
            raise UserError(
                f'{out} was prepared with {key} {before["options"].get(key)}, not {value}. Name another folder as '
                '--out, or remove this one.'
            )
    return before


def _refuse_existing(plan: Plan, out: Path) -> None:
    for folder in plan.folders:
        if (out / folder).exists():
            raise UserError(
                f'{out / folder} exists and was not made by this command ({out} has no {FILE}). Move it away, or name '
                'another folder as --out.'
            )


def _start(plan: Plan, source: Path, before: Mapping[str, Any] | None, allow_incomplete: bool) -> dict[str, Any]:
    """Compose the manifest of a run that has not ended yet; it keeps what earlier runs say of other parts."""
    before = before or {'counts': {}, 'left_out': [], 'folders': {}, 'lmdb': []}
    counts = {part: {'found': found, 'expected': expected} for part, (found, expected) in plan.counts.items()}
    left_out = []
    for entry in before['left_out']:
        part, _, _ = entry['image'].partition('/')
        if part not in plan.folders:
            left_out.append(entry)
    return {
        'format': FORMAT,
        'set': plan.name,
        'complete': False,
        'made_by': f'deeprftv2_arch {__version__}',
        'source': str(source.resolve()),
        'layout': plan.layout,
        'options': dict(plan.options),
        'allow_incomplete': allow_incomplete,
        'counts': {**before['counts'], **counts},
        'left_out': left_out,
        'folders': before['folders'],
        'lmdb': before['lmdb'],
    }


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder against other runs of this command, which would remove unfinished files and manifest entries."""
    lock = RunLock(out, 'a preparation')
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _output_dirs(out: Path) -> Iterator[OutputDirs]:
    """Make a folder for unfinished files; what an interrupted run left there is removed first."""
    scratch = out / '.partial'
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield OutputDirs(out, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_results(plan: Plan, results: Sequence[JobResult], allow_incomplete: bool) -> list[dict[str, str]]:
    """Refuse a run with failed jobs, or with pairs that do not fit.

    Returns:
        What the manifest says of images left out.
    """
    failed = [result for result in results if result.error]
    if failed and not (allow_incomplete and len(failed) < len(results)):
        lines = [f'{len(failed)} of {len(results)} items cannot be used:']
        lines += [f'  {result.error}' for result in failed[:_SHOWN]]
        if len(failed) > _SHOWN:
            lines.append(f'  and {len(failed) - _SHOWN} more.')
        lines.append('Replace them, or add --allow-incomplete to leave them out.')
        raise UserError('\n'.join(lines))
    if plan.check_order:
        _check_order([result for result in results if not result.error])
    return [{'image': result.name, 'reason': result.error} for result in failed]


def _check_order(results: Sequence[JobResult]) -> None:
    """Confirm by the looks of their images pairs that were made by order."""
    parts: dict[str, list[JobResult]] = defaultdict(list)
    for result in results:
        parts[result.name.split('/')[0]].append(result)
    for part, pairs in sorted(parts.items()):
        thumbnails = [pair.thumbnails for pair in pairs if pair.thumbnails is not None]
        blur, sharp = zip(*thumbnails, strict=True)
        wrong = mismatched_pairs(blur, sharp)
        if wrong:
            shown = [f'the blurred {pairs[m.pair].name} looks like the sharp {pairs[m.better].name}' for m in wrong]
            raise UserError(
                f'The files have different names and were paired by their order, but {len(wrong)} of {len(pairs)} '
                f'pairs of {part} do not fit: {shorten(shown)}. Complete both folders, or give --pairs FILE.'
            )


def _by_folder(results: Sequence[JobResult]) -> dict[str, list[OutputFile]]:
    folders: dict[str, list[OutputFile]] = defaultdict(list)
    for result in results:
        for entry in result.files:
            folder, _, _ = entry.file.rpartition('/')
            folders[folder].append(entry)
    return dict(folders)


def _refuse_unexpected_files(out: Path, folders: Mapping[str, Sequence[OutputFile]]) -> None:
    """Refuse files among ours that are not ours: a training would take them for part of the set."""
    for folder, files in folders.items():
        ours = {Path(entry.file).name for entry in files}
        visible = {path.name for path in (out / folder).iterdir() if not path.name.startswith('.')}
        unexpected = sorted(visible - ours)
        if unexpected:
            raise UserError(
                f'{out / folder} holds {len(unexpected)} files that are not made of this source '
                f'({shorten(unexpected)}). Remove them and run the command again.'
            )


def _tell_left_out(left_out: Sequence[Mapping[str, str]]) -> None:
    for entry in left_out[:_SHOWN]:
        print(f'Left out {entry["image"]}: {entry["reason"]}')
    if len(left_out) > _SHOWN:
        print(f'Left out {len(left_out) - _SHOWN:,} more images; {FILE} names them.')


def _report(out: Path, folders: Mapping[str, Any], databases: Sequence[str], written: int, packed: int) -> None:
    for folder, described in folders.items():
        sizes = list(described['sizes'])
        size = sizes[0] if len(sizes) == 1 else f'{len(sizes)} sizes'
        room = tqdm.format_sizeof(described['bytes'], 'B')
        lmdb = ', LMDB' if folder in databases else ''
        print(f'{out / folder}: {described["images"]:,} images, {size}, {described["bit_depth"]} bit, {room}{lmdb}')
    print(f'Files written now: {written:,}, databases: {packed}. {out / FILE} lists everything.')
