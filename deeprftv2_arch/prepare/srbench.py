"""Set5, Set14, BSD100, Urban100 and Manga109: the test sets of super-resolution, in the layouts in which they go round.

Whatever the layout, the result is the same: ``Set5/HR/x2/NAME.png`` and ``Set5/LR/x2/NAME.png`` with equal names, three
channels, and sides of the high-resolution image that are multiples of the scale. Low-resolution images that the copy
has not are made.
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
from deeprftv2_arch.prepare.layouts import image_files, roots
from deeprftv2_arch.prepare.plan import Made, Outcome, Place, Plan
from deeprftv2_arch.utils.errors import UserError
from deeprftv2_arch.utils.natural_sort import natural

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
    items, counts, layouts = [], {}, []
    for name in sets:
        title = KNOWN_SETS[name].title
        for scale in args.scales:
            folders = _find(args.source, name, scale)
            found = _pairs(folders, title, scale)
            layouts.append(f'{title} x{scale}: {folders.layout}{"" if folders.lr else ", LR made"}')
            if name in counts and counts[name][0] != len(found):
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
        lmdb_folders=(),
        folders=tuple(KNOWN_SETS[name].title for name in sets),
    )


def prepare_benchmark_image(item: BenchmarkItem, place: Place) -> Outcome:
    """Make both images of a pair, unless they are there and as new as their sources."""
    name = f'{item.folder}/x{item.scale}/{item.name}'
    hr_file, lr_file = (f'{item.folder}/{kind}/x{item.scale}/{item.name}.png' for kind in ('HR', 'LR'))
    lr_source = item.lr or item.hr
    try:
        if is_current(place.out / hr_file, item.hr) and is_current(place.out / lr_file, lr_source):
            header = png_header(place.out / hr_file)
            height, width, written = header.height, header.width, 0
        else:
            good = crop_to_multiple(read_rgb(item.hr), item.scale)
            height, width, written = *good.shape[:2], 2
            low = read_rgb(item.lr) if item.lr else downsample(good, item.scale)
            _check_sizes(item, low.shape[:2], (height, width))
            write_file(place, hr_file, item.hr, encode_png(good))
            write_file(place, lr_file, lr_source, encode_png(low))
    except DataError as error:
        return Outcome(name, error=str(error))
    low_height, low_width = height // item.scale, width // item.scale
    return Outcome(name, (Made(hr_file, height, width, 8), Made(lr_file, low_height, low_width, 8)), written)


def _check_sizes(item: BenchmarkItem, low: tuple[int, int], good: tuple[int, int]) -> None:
    if (low[0] * item.scale, low[1] * item.scale) != good:
        raise DataError(
            f'{item.lr}: {low[1]} x {low[0]} pixels times {item.scale} do not fit {item.hr}, of which '
            f'{good[1]} x {good[0]} can be used. Take both from the same copy.'
        )


def _find(source: Path, name: str, scale: int) -> Folders:
    for folders in _candidates(source, name, scale):
        if folders.hr.is_dir() and image_files(folders.hr):
            return folders._replace(lr=folders.lr if folders.lr and folders.lr.is_dir() else None)
    raise UserError(
        f'{source}: {KNOWN_SETS[name].title} not found. Looked for {", ".join(LAYOUTS)}, where SET is '
        f'{" or ".join(_names(name))}. Leave it out with --parts, or name another folder as --source.'
    )


def _candidates(source: Path, name: str, scale: int) -> Iterator[Folders]:
    """All folders that could be meant, the likeliest first."""
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


def _pairs(folders: Folders, title: str, scale: int) -> list[BenchmarkItem]:
    """Pair the images of two folders, whatever the copy adds to their names."""
    hr_files, lr_files = image_files(folders.hr), image_files(folders.lr) if folders.lr else []
    if folders.lr == folders.hr:
        hr_files = [file for file in hr_files if not file.stem.endswith('_LR')]
        lr_files = [file for file in lr_files if file.stem.endswith('_LR')]
    good, low = _by_name(hr_files, scale), _by_name(lr_files, scale)
    alone = [low[name] for name in low.keys() - good.keys()]
    alone += [good[name] for name in good.keys() - low.keys()] if folders.lr else []
    if alone:
        raise UserError(
            f'{title} x{scale}: {len(alone)} images have no partner in {folders.hr} and {folders.lr} '
            f'({shorten(sorted(map(str, alone)))}). Names may be NAME, NAMEx{scale}, NAME_HR_x{scale}, '
            f'NAME_LRBI_x{scale}, NAME_SRF_{scale}_HR or NAME_SRF_{scale}_LR.'
        )
    return [BenchmarkItem(title, name, scale, good[name], low.get(name)) for name in sorted(good, key=natural)]


def _by_name(files: list[Path], scale: int) -> dict[str, Path]:
    addition = re.compile(rf'(_(HR|LRBI)_x{scale}|_SRF_{scale}_(HR|LR)|x{scale})$')
    named: dict[str, Path] = {}
    for file in files:
        name = addition.sub('', file.stem)
        if name in named:
            raise UserError(f'{named[name]} and {file} are both called {name}. Remove the one that does not belong.')
        named[name] = file
    return named
