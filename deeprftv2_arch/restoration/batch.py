"""Restoring the photographs of files and folders, one after the other: what to restore, where to, and how it went."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deeprftv2_arch.restoration.photo_file import MAX_MEGAPIXELS, encode_photo, read_photo, write_format
from deeprftv2_arch.restoration.photo_formats import FORMATS, HEIC_SUFFIXES, PHOTO_SUFFIXES
from deeprftv2_arch.utils.atomic_file import cannot_write, write_atomically
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.natural_sort import natural_sort_key

if TYPE_CHECKING:
    from deeprftv2_arch.restoration.restorer import OnSuspect, Restorer

NO_OTHER_WILL_DO = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors of writing one file that all others would meet too."""


@dataclass(frozen=True)
class Job:
    """A photograph to restore.

    Attributes:
        source: The file, which is only read.
        target: Where the restored photograph goes.
    """

    source: Path
    target: Path


@dataclass(frozen=True)
class Output:
    """How restored photographs are written.

    Attributes:
        format: Name of the format in `FORMATS`; None for the format of each photograph.
        quality: Of JPEG and WebP, 1 to 100.
        keep_metadata: Whether Exif, XMP, captions and texts are written; the colour profile always is.
        overwrite: Whether files that are there already are made again.
    """

    format: str | None = None
    quality: int = 95
    keep_metadata: bool = True
    overwrite: bool = False


@dataclass
class Summary:
    """What became of the photographs: how many were restored and skipped, which failed and which are suspect."""

    restored: int = 0
    skipped: int = 0
    failed: list[Path] = field(default_factory=list)
    suspect: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        """In one line."""
        parts = [f'{self.restored} restored']
        if self.skipped:
            parts.append(f'{self.skipped} skipped, as they were there already')
        if self.suspect:
            parts.append(f'{len(self.suspect)} to look at ({_names(self.suspect)})')
        if self.failed:
            parts.append(f'{len(self.failed)} failed ({_names(self.failed)})')
        return '; '.join(parts)


def find_jobs(sources: Sequence[str | Path], out: Path, file_format: str | None = None) -> list[Job]:
    """Find the photographs of files and folders, and decide where each restored one goes.

    A photograph that is named goes to its name below `out`; one in a folder that is named to the path that it has
    there. Folders are searched to the bottom, but for what begins with a dot and for `out` itself.

    Args:
        sources: Files and folders.
        out: Folder of the restored photographs.
        file_format: Name of a format in `FORMATS`, if all are to be written in that one.

    Raises:
        UserError: A source is not there, or a folder has no photographs; a restored photograph would take the place of
            a photograph or of another restored one.
    """
    jobs: list[Job] = []
    for source in map(Path, sources):
        if source.is_dir():
            found = _photos_in(source, out)
            if not found:
                raise UserError(
                    f'{source} has no photographs: no file that ends in {", ".join(sorted(PHOTO_SUFFIXES))}.'
                )
            jobs += [Job(path, out / _target_name(path.relative_to(source), file_format)) for path in found]
        elif source.exists():
            jobs.append(Job(source, out / _target_name(Path(source.name), file_format)))
        else:
            raise UserError(f'There is no photograph or folder {source}.')
    _check_targets(jobs)
    return jobs


def check_writable(folder: Path) -> None:
    """Make a folder, and see whether files can be written there.

    Raises:
        UserError: They cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise cannot_write(folder, error.strerror) from error


def restore_all(
    jobs: Iterable[Job],
    restorer: Restorer,
    output: Output,
    *,
    strength: float,
    on_suspect: OnSuspect,
    max_megapixels: float = MAX_MEGAPIXELS,
    tell: Callable[[str], None],
    progress_of: Callable[[Job], Callable[[int, int], None]],
) -> Summary:
    """Restore photographs; one that fails does not stop the others.

    Args:
        jobs: From `find_jobs`.
        restorer: What restores them.
        output: How they are written.
        strength, on_suspect: As for `Restorer.restore`.
        max_megapixels: As for `read_photo`.
        tell: Is given one line about each photograph.
        progress_of: Gives, for a photograph, what is told about its tiles.

    Raises:
        UserError: A photograph cannot be written, for a reason that holds for all others.
    """
    summary = Summary()
    for job in jobs:
        if job.target.exists() and not output.overwrite:
            summary.skipped += 1
            tell(f'{job.source}: skipped, {job.target} is there already (--overwrite makes it again)')
            continue
        try:
            size, suspect = _restore_one(job, restorer, output, strength, on_suspect, max_megapixels, progress_of(job))
        except UserError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_OTHER_WILL_DO:
                raise UserError(f'{error} {summary}.') from error
            summary.failed.append(job.source)
            tell(f'Error: {error}')
            continue
        summary.restored += 1
        line = f'{job.source} -> {job.target} ({size[0]} x {size[1]})'
        if suspect:
            summary.suspect.append(job.source)
            line += f'; LOOK AT IT: {suspect}; {_DONE_ABOUT_IT[on_suspect]}'
        tell(line)
    return summary


_DONE_ABOUT_IT = {
    'blend': 'the input was blended in there',
    'keep': 'the input was kept',
    'write': 'written as it is',
}


def _restore_one(
    job: Job,
    restorer: Restorer,
    output: Output,
    strength: float,
    on_suspect: OnSuspect,
    max_megapixels: float,
    progress: Callable[[int, int], None],
) -> tuple[tuple[int, int], str]:
    """Restore and write a photograph. Returns width and height, and in what it is suspect."""
    from deeprftv2_arch.restoration.restorer import array_to_tensor, tensor_to_array

    photo = read_photo(job.source, max_megapixels)
    file_format = write_format(photo, job.source, output.format)
    restored = restorer.run(array_to_tensor(photo.pixels), strength, on_suspect=on_suspect, progress=progress)
    pixels = tensor_to_array(restored.image, photo.pixels.dtype, is_grey=photo.pixels.ndim == 2)
    content = encode_photo(photo, pixels, file_format, output.quality, output.keep_metadata)
    write_atomically(job.target, content)
    return (pixels.shape[1], pixels.shape[0]), restored.suspect


def _photos_in(folder: Path, out: Path) -> list[Path]:
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if not name.startswith('.') and not _is_same(here / name, out)]
        found += [here / name for name in files if Path(name).suffix.lower() in PHOTO_SUFFIXES and name[0] != '.']
    return sorted(found, key=lambda path: natural_sort_key(str(path)))


def _target_name(name: Path, file_format: str | None) -> Path:
    """The name of a restored photograph: its own, unless it is written in another format."""
    if file_format is None:
        return name.with_suffix(FORMATS['JPEG'].suffixes[0]) if name.suffix.lower() in HEIC_SUFFIXES else name
    suffixes = FORMATS[file_format].suffixes
    return name if name.suffix.lower() in suffixes else name.with_suffix(suffixes[0])


def _check_targets(jobs: Sequence[Job]) -> None:
    sources = {_identity(job.source): job.source for job in jobs}
    targets: dict[str, Path] = {}
    for job in jobs:
        # Also through a link, symbolic or hard.
        if job.target.exists() and _identity(job.target) in sources:
            raise UserError(
                f'{job.target} is a photograph to restore, and a restored one would take its place. Give --out another '
                'folder.'
            )
        other = targets.setdefault(os.path.normcase(job.target), job.source)
        if other != job.source:
            raise UserError(
                f'{other} and {job.source} would both become {job.target}. Restore them one after the other.'
            )


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_same(path: Path, other: Path) -> bool:
    return other.exists() and path.exists() and _identity(path) == _identity(other)


def _names(paths: Sequence[Path], shown: int = 3) -> str:
    more = ', ...' if len(paths) > shown else ''
    return ', '.join(str(path) for path in paths[:shown]) + more
