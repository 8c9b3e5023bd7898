"""Set5, Set14, BSD100, Urban100 and Manga109: the test sets of super-resolution, in all their layouts.

Whatever the layout, the result is the same: ``Set5/HR/x2/NAME.png`` and ``Set5/LR/x2/NAME.png`` with equal names, three
channels, and sides of the high-resolution image that are multiples of the scale. Missing low-resolution images are made
(bicubic).
"""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deeprftv2_arch.config.known_sets import KNOWN_SETS, SR_BENCHMARK
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.pairing import shorten
from deeprftv2_arch.prepare.bicubic import crop_to_multiple, downsample, read_rgb
from deeprftv2_arch.prepare.files import is_current, write_file
from deeprftv2_arch.prepare.image_io import encode_png, png_header
from deeprftv2_arch.prepare.layouts import image_files, roots, unpaired
from deeprftv2_arch.prepare.plan import JobResult, OutputDirs, OutputFile, Plan
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.natural_sort import natural_sort_key

_ALIASES = {'bsd100': ('BSD100', 'B100', 'BSDS100')}

LAYOUTS = ('SET/{HR,LR_bicubic/X2}', 'SET/{GTmod12,LRbicx2}', '{HR,LR/LRBI}/SET/x2', 'SET/image_SRF_2', 'SET/*.png')


class Folders(NamedTuple):
    """Where the images of a set and a scale are; `lr` is None if there are none of low resolution."""

    layout: str
    hr: Path
    lr: Path | None


class BenchmarkItem(NamedTuple):
    """One image at one scale.

    Attributes:
        folder: Folder of the set below ``--out``.
        name: Stem of both results.
        scale: 2, 3 or 4.
        hr: File of the high-resolution image.
        lr: File of the low-resolution image, or None to make it.
    """

    folder: str
    name: str
    scale: int
    hr: Path
    lr: Path | None


def plan_benchmark(args: Namespace) -> Plan:
    """Plan the preparation of ``srbench`` from the arguments of the command line.

    Raises:
        UserError: If the arguments do not fit, or the images are not as they should be.
    """
    sets = args.parts or SR_BENCHMARK
    for name in sets:
        if name not in SR_BENCHMARK:
            raise UserError(f'--parts {name}: srbench has {", ".join(SR_BENCHMARK)}.')
    if args.lmdb:
        raise UserError('--lmdb: the test sets of super-resolution are small and read from folders. Leave --lmdb out.')
    items: list[BenchmarkItem] = []
    counts: dict[str, tuple[int, int | None]] = {}
    layouts = []
    left_out: list[dict[str, str]] = []
    for name in sets:
        title = KNOWN_SETS[name].title
        for scale in args.scales:
            folders = _find(args.source, name, scale)
            found = _pairs(folders, title, scale, left_out if args.allow_incomplete else None)
            made = '' if folders.lr else ', LR made'
            layouts.append(f'{title} x{scale}: {folders.layout}{made}')
            if name in counts and counts[name][0] != len(found) and not args.allow_incomplete:
                raise UserError(f'{folders.hr}: {len(found)} images, but {counts[name][0]} at another scale.')
            counts[name] = (len(found), KNOWN_SETS[name].images['test'])
            items += found
    print('\n'.join(layouts))
    return Plan(
        name='srbench',
        layout='; '.join(layouts),
        job=prepare_benchmark_image,
        items=items,
        counts=counts,
        options={},
        left_out=left_out,
        lmdb_folders=(),
        folders=tuple(KNOWN_SETS[name].title for name in sets),
    )


def prepare_benchmark_image(item: BenchmarkItem, dirs: OutputDirs) -> JobResult:
    """Make both images of a pair, unless they are there and as new as their sources."""
    name = f'{item.folder}/x{item.scale}/{item.name}'
    gt_file = f'{item.folder}/HR/x{item.scale}/{item.name}.png'
    lq_file = f'{item.folder}/LR/x{item.scale}/{item.name}.png'
    try:
        size = _current_size(item, dirs, gt_file, lq_file)
        written = 0
        if size is None:
            size = _make(item, dirs, gt_file, lq_file)
            written = 2
    except DataError as error:
        return JobResult(name, error=str(error))
    height, width = size
    gt = OutputFile(gt_file, height, width, 8)
    lq = OutputFile(lq_file, height // item.scale, width // item.scale, 8)
    return JobResult(name, (gt, lq), written)


def _current_size(item: BenchmarkItem, dirs: OutputDirs, gt_file: str, lq_file: str) -> tuple[int, int] | None:
    """Read the size of the high-resolution result; None if one of the two results is not there or out of date."""
    if not is_current(dirs.out / gt_file, item.hr) or not is_current(dirs.out / lq_file, item.lr or item.hr):
        return None
    header = png_header(dirs.out / gt_file)
    return None if header is None else (header.height, header.width)


def _make(item: BenchmarkItem, dirs: OutputDirs, gt_file: str, lq_file: str) -> tuple[int, int]:
    """Write both images and return the size of the high-resolution one."""
    gt = crop_to_multiple(read_rgb(item.hr), item.scale)
    lq = downsample(gt, item.scale) if item.lr is None else read_rgb(item.lr)
    height, width = gt.shape[:2]
    low_height, low_width = lq.shape[:2]
    if (low_height * item.scale, low_width * item.scale) != (height, width):
        raise DataError(
            f'{item.lr}: {low_width} x {low_height} pixels times {item.scale} do not fit {item.hr}, of which '
            f'{width} x {height} can be used. Take both from the same copy.'
        )
    write_file(dirs, gt_file, item.hr, encode_png(gt))
    write_file(dirs, lq_file, item.lr or item.hr, encode_png(lq))
    return height, width


def _find(source: Path, name: str, scale: int) -> Folders:
    for folders in _candidates(source, name, scale):
        if folders.hr.is_dir() and image_files(folders.hr):
            has_lr = folders.lr is not None and folders.lr.is_dir()
            return folders if has_lr else folders._replace(lr=None)
    raise UserError(
        f'{source}: {KNOWN_SETS[name].title} not found. Looked for {", ".join(LAYOUTS)}, where SET is '
        f'{" or ".join(_names(name))}. Leave it out with --parts, or name another folder as --source.'
    )


def _candidates(source: Path, name: str, scale: int) -> Iterator[Folders]:
    """Yield all folders that could be meant, the likeliest first."""
    bases = [root / alias for root in roots(source) for alias in _names(name)]
    if source.name in _names(name):
        bases.insert(0, source)
    for base in bases:
        yield Folders('EDSR', base / 'HR', base / 'LR_bicubic' / f'X{scale}')
        yield Folders('BasicSR', base / 'GTmod12', base / f'LRbicx{scale}')
        yield Folders('SelfExSR', base / f'image_SRF_{scale}', base / f'image_SRF_{scale}')
    for root in roots(source):
        for alias in _names(name):
            lr = root / 'LR' / 'LRBI' / alias / f'x{scale}'
            yield Folders('RCAN', root / 'HR' / alias / f'x{scale}', lr)
    for base in bases:
        yield Folders('images', base / 'original', None)
        yield Folders('images', base, None)


def _names(name: str) -> tuple[str, ...]:
    return (*_ALIASES.get(name, (KNOWN_SETS[name].title,)), name)


def _pairs(
    folders: Folders, title: str, scale: int, left_out: list[dict[str, str]] | None = None
) -> list[BenchmarkItem]:
    """Pair the images of two folders, whatever the copy adds to their names.

    Those without partner are added to ``left_out``, or refused if it is None.
    """
    hr_files = image_files(folders.hr)
    lr_files = [] if folders.lr is None else image_files(folders.lr)
    if folders.lr == folders.hr:
        hr_files = [file for file in hr_files if not file.stem.endswith('_LR')]
        lr_files = [file for file in lr_files if file.stem.endswith('_LR')]
    hr, lr = _by_name(hr_files, scale), _by_name(lr_files, scale)
    alone = [] if folders.lr is None else unpaired(hr, lr)
    if alone and left_out is not None:
        left_out += [{'image': f'{title}/{Path(file).stem}', 'reason': f'{file} has no partner'} for file in alone]
        hr = {name: file for name, file in hr.items() if name in lr}
    elif alone:
        raise UserError(
            f'{title} x{scale}: {len(alone)} images have no partner in {folders.hr} and {folders.lr} '
            f'({shorten(alone)}). Names may be NAME, NAMEx{scale}, NAME_HR_x{scale}, NAME_LRBI_x{scale}, '
            f'NAME_SRF_{scale}_HR or NAME_SRF_{scale}_LR; --allow-incomplete goes on without these.'
        )
    return [BenchmarkItem(title, name, scale, hr[name], lr.get(name)) for name in sorted(hr, key=natural_sort_key)]


def _by_name(files: list[Path], scale: int) -> dict[str, Path]:
    addition = re.compile(rf'(_(HR|LRBI)_x{scale}|_SRF_{scale}_(HR|LR)|x{scale})$')
    named: dict[str, Path] = {}
    for file in files:
        name = addition.sub('', file.stem)
        if name in named:
            raise UserError(f'{named[name]} and {file} are both called {name}. Remove the one that does not belong.')
        named[name] = file
    return named
