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
from deeprftv2_arch.prepare.plan import Made, Outcome, Place, Plan
from deeprftv2_arch.prepare.similarity import misfits
from deeprftv2_arch.prepare.workers import run_jobs
from deeprftv2_arch.utils.atomic_file import write_atomically
from deeprftv2_arch.utils.errors import UserError

_SHOWN = 10
"""How many faulty images a message names before it only counts."""


def build(
    plan: Plan, source: Path, out: Path, *, workers: int, lmdb: bool = False, allow_incomplete: bool = False
) -> dict[str, Any]:
    """Make everything that a plan names and that is not there yet.

    Args:
        plan: What to make.
        source: Where the download is; nothing there is changed.
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
    before = _check_out(plan, source, out)
    with _scratch(out) as place:
        manifest = _start(plan, source, before, allow_incomplete)
        write_manifest(out, manifest)
        outcomes = list(
            run_jobs(functools.partial(plan.job, place=place), plan.items, workers=workers, label=plan.name)
        )
        left_out = _check_outcomes(plan, outcomes, allow_incomplete)
        folders = _by_folder(outcomes)
        _check_strangers(out, folders)
        for file, text in plan.texts.items():
            write_atomically(out / file, text)
        # Databases that an earlier run made are kept up to date with their folders.
        wanted = plan.lmdb_folders if lmdb else ()
        databases = [name for name in folders if name in wanted or (out / f'{name}.lmdb').is_dir()]
        packed = [folder for folder in databases if write_lmdb(folder, folders[folder], place)]
        described = {folder: describe_folder(out, made) for folder, made in sorted(folders.items())}
    manifest['complete'] = True
    manifest['left_out'] += left_out
    manifest['folders'] = dict(sorted({**manifest['folders'], **described}.items()))
    kept = (name for name in manifest['lmdb'] if (out / name).is_dir())
    manifest['lmdb'] = sorted({*kept, *(f'{folder}.lmdb' for folder in databases)})
    write_manifest(out, manifest)
    _report(out, described, databases, sum(outcome.written for outcome in outcomes), len(packed))
    return manifest


def _check_counts(plan: Plan, source: Path, allow_incomplete: bool) -> None:
    wrong = [
        f'{found:,} in {part}, where there should be {expected:,}'
        for part, (found, expected) in plan.counts.items()
        if expected is not None and found != expected
    ]
    if wrong and not allow_incomplete:
        raise UserError(
            f'{source}: {KNOWN_SETS[plan.name].title if plan.name in KNOWN_SETS else plan.name}: found '
            f'{"; ".join(wrong)}. Complete the download, or add --allow-incomplete to go on with what there is.'
        )


def _check_out(plan: Plan, source: Path, out: Path) -> dict[str, Any] | None:
    """Refuse an output folder that is the source's or holds anything that this command did not make."""
    inside, target = source.resolve(), out.resolve()
    if target == inside or target.is_relative_to(inside):
        raise UserError(f'--out {out} lies in --source {source}, where nothing is to be changed. Name another folder.')
    if any(inside.is_relative_to(target / folder) for folder in plan.folders):
        raise UserError(f'--source {source} lies where --out {out} puts its files. Name another folder as --out.')
    before = read_manifest(out)
    if before is None:
        existing = [out / folder for folder in plan.folders if (out / folder).exists()]
        if existing:
            raise UserError(
                f'{existing[0]} exists and was not made by this command ({out} has no {FILE}). Move it away, or name '
                'another folder as --out.'
            )
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


def _start(plan: Plan, source: Path, before: Mapping[str, Any] | None, allow_incomplete: bool) -> dict[str, Any]:
    """The manifest of a run that has not ended yet; it keeps what earlier runs say of other parts."""
    before = before or {'counts': {}, 'left_out': [], 'folders': {}, 'lmdb': []}
    counts = {part: {'found': found, 'expected': expected} for part, (found, expected) in plan.counts.items()}
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
        'left_out': [entry for entry in before['left_out'] if entry['image'].split('/')[0] not in plan.folders],
        'folders': before['folders'],
        'lmdb': before['lmdb'],
    }


@contextmanager
def _scratch(out: Path) -> Iterator[Place]:
    """A folder for unfinished files; what an interrupted run left there is removed first."""
    scratch = out / '.partial'
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield Place(out, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_outcomes(plan: Plan, outcomes: Sequence[Outcome], allow_incomplete: bool) -> list[dict[str, str]]:
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed and (not allow_incomplete or len(failed) == len(outcomes)):
        raise UserError(
            f'{len(failed)} of {len(outcomes)} items cannot be used:\n'
            + '\n'.join(f'  {outcome.error}' for outcome in failed[:_SHOWN])
            + (f'\n  and {len(failed) - _SHOWN} more.' if len(failed) > _SHOWN else '')
            + '\nReplace them, or add --allow-incomplete to leave them out.'
        )
    good = [outcome for outcome in outcomes if not outcome.error]
    if plan.check_order:
        _check_order(good)
    return [{'image': outcome.name, 'reason': outcome.error} for outcome in failed]


def _check_order(outcomes: Sequence[Outcome]) -> None:
    """Confirm by their looks pairs that were made by order."""
    for part in sorted({outcome.name.split('/')[0] for outcome in outcomes}):
        pairs = [outcome for outcome in outcomes if outcome.name.startswith(f'{part}/')]
        wrong = misfits(*zip(*(outcome.likeness for outcome in pairs), strict=True))
        if wrong:
            shown = [f'the blurred {pairs[m.index].name} looks like the sharp {pairs[m.better].name}' for m in wrong]
            raise UserError(
                f'The files have different names and were paired by their order, but {len(wrong)} of {len(pairs)} '
                f'pairs of {part} do not fit: {shorten(shown)}. Complete both folders, or give --pairs FILE.'
            )


def _by_folder(outcomes: Sequence[Outcome]) -> dict[str, list[Made]]:
    folders: dict[str, list[Made]] = defaultdict(list)
    for outcome in outcomes:
        for made in outcome.made:
            folders[made.file.rpartition('/')[0]].append(made)
    return dict(folders)


def _check_strangers(out: Path, folders: Mapping[str, Sequence[Made]]) -> None:
    """Refuse files among ours that are not ours: a training would take them for part of the set."""
    for folder, made in folders.items():
        ours = {entry.file.rpartition('/')[2] for entry in made}
        strangers = sorted(
            p.name for p in (out / folder).iterdir() if p.name not in ours and not p.name.startswith('.')
        )
        if strangers:
            raise UserError(
                f'{out / folder} holds {len(strangers)} files that are not made of this source ({shorten(strangers)}). '
                'Remove them and run the command again.'
            )


def _report(out: Path, folders: Mapping[str, Any], databases: Sequence[str], written: int, packed: int) -> None:
    for folder, described in folders.items():
        sizes = list(described['sizes'])
        size = sizes[0] if len(sizes) == 1 else f'{len(sizes)} sizes'
        room = tqdm.format_sizeof(described['bytes'], 'B')
        lmdb = ', LMDB' if folder in databases else ''
        print(f'{out / folder}: {described["images"]:,} images, {size}, {described["bit_depth"]} bit, {room}{lmdb}')
    print(f'Files written now: {written:,}, databases: {packed}. {out / FILE} lists everything.')
