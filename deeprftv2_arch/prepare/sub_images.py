"""DIV2K and Flickr2K (together DF2K) for super-resolution: overlapping sub-images of the high- and low-resolution ones.

The windows are those of BasicSR's recipe: 480 pixels every 240 of the high-resolution image, the same places in the
low-resolution ones, and windows at the borders however little is left for them. DIV2K's 800 images give 32,592.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deeprftv2_arch.config.known_sets import KNOWN_SETS
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.pairing import shorten
from deeprftv2_arch.prepare.bicubic import crop_to_multiple, downsample, read_rgb
from deeprftv2_arch.prepare.crops import windows
from deeprftv2_arch.prepare.files import is_current, write_file
from deeprftv2_arch.prepare.image_io import encode_png, png_header
from deeprftv2_arch.prepare.layouts import image_files, roots
from deeprftv2_arch.prepare.plan import JobResult, OutputDirs, OutputFile, Plan
from deeprftv2_arch.utils.errors import UserError

SIZE, STEP = 480, 240
"""Side and distance of the windows in the high-resolution image; divisible by every scale."""

_FOLDERS = {
    'div2k': ('DIV2K_train_HR', 'DIV2K_train_LR_bicubic'),
    'flickr2k': ('Flickr2K_HR', 'Flickr2K_LR_bicubic'),
}
_MEMBERS = {'div2k': ('div2k',), 'df2k': ('div2k', 'flickr2k')}


class SubImages(NamedTuple):
    """A high-resolution image and its low-resolution ones.

    Attributes:
        name: Stem of the image.
        hr: The high-resolution file.
        lr: By scale, the low-resolution file, or None where it is to be made.
    """

    name: str
    hr: Path
    lr: dict[int, Path | None]


def plan_sub_images(args: Namespace) -> Plan:
    """Plan the preparation of ``div2k`` or ``df2k`` from the arguments of the command line.

    Raises:
        UserError: If the download is not as it should be.
    """
    items: list[SubImages] = []
    left_out: list[dict[str, str]] = []
    made_here: set[int] = set()
    for member in _MEMBERS[args.name]:
        hr_folder, lr_folders = _find(args.source, member, args.scales)
        made_here |= {scale for scale, folder in lr_folders.items() if folder is None}
        files = image_files(hr_folder)
        found, expected = len(files), KNOWN_SETS[member].images['train']
        if found != expected and not args.allow_incomplete:
            raise UserError(
                f'{hr_folder}: {found:,} images, where {KNOWN_SETS[member].title} has {expected:,}. Complete the '
                'download, or add --allow-incomplete to go on with what there is.'
            )
        for file in files:
            try:
                items.append(SubImages(file.stem, file, _partners(file, lr_folders)))
            except UserError as error:
                if not args.allow_incomplete:
                    raise
                left_out.append({'image': f'train/{file.stem}', 'reason': str(error)})
    layout = 'original'
    if made_here:
        print(f'Low-resolution images are made (bicubic) for x{", x".join(map(str, sorted(made_here)))}.')
        layout += f', LR made for {sorted(made_here)}'
    return Plan(
        name=args.name,
        layout=layout,
        job=cut_sub_images,
        items=items,
        counts={'train': (len(items), KNOWN_SETS[args.name].images['train'])},
        options={},
        left_out=left_out,
        lmdb_folders=['train/HR_sub', *(f'train/LRx{scale}_sub' for scale in args.scales)],
        folders=('train',),
    )


def cut_sub_images(item: SubImages, dirs: OutputDirs) -> JobResult:
    """Cut all sub-images of an image that are missing or not as new as their source."""
    name = f'train/{item.name}'
    try:
        header = png_header(item.hr)
        if header is not None:
            windows_known = list(_windows_of(item, header.height, header.width))
            if all(is_current(dirs.out / window.file.file, window.source) for window in windows_known):
                return JobResult(name, tuple(window.file for window in windows_known))
        images = _read_all(item)
        height, width = images[1].shape[:2]
        files = []
        written = 0
        for window in _windows_of(item, height, width):
            files.append(window.file)
            if is_current(dirs.out / window.file.file, window.source):
                continue
            bottom, right = window.top + window.file.height, window.left + window.file.width
            crop = images[window.scale][window.top : bottom, window.left : right]
            write_file(dirs, window.file.file, window.source, encode_png(crop))
            written += 1
    except DataError as error:
        return JobResult(name, error=str(error))
    return JobResult(name, tuple(files), written)


class _Window(NamedTuple):
    """A sub-image to be made.

    Attributes:
        file: The file that it becomes.
        source: The file that it is cut of, or the high-resolution one that it is made of.
        scale: Which image it is cut of: 1 for the high-resolution one.
        top: First row in that image.
        left: First column in that image.
    """

    file: OutputFile
    source: Path
    scale: int
    top: int
    left: int


def _windows_of(item: SubImages, height: int, width: int) -> Iterator[_Window]:
    multiple = _multiple(item)
    try:
        grid = windows(height - height % multiple, width - width % multiple, SIZE, STEP)
    except ValueError as error:
        raise DataError(f'{item.hr}: {error}. Take the original image.') from error
    sources = {1: item.hr, **item.lr}
    for scale, source in sources.items():
        folder = 'HR_sub' if scale == 1 else f'LRx{scale}_sub'
        side = SIZE // scale
        for number, (top, left) in enumerate(grid, start=1):
            file = OutputFile(f'train/{folder}/{item.name}_s{number:03}.png', side, side, 8)
            yield _Window(file, source or item.hr, scale, top // scale, left // scale)


def _multiple(item: SubImages) -> int:
    """Return what the sides of the high-resolution image must be multiples of, for windows to fall on whole pixels."""
    return math.lcm(*item.lr)


def _read_all(item: SubImages) -> dict[int, np.ndarray]:
    """Read the images by scale, cut to sides that fit each other exactly."""
    whole = read_rgb(item.hr)
    images = {1: crop_to_multiple(whole, _multiple(item))}
    height, width = images[1].shape[:2]
    for scale, file in item.lr.items():
        if file is None:
            images[scale] = downsample(images[1], scale)
            continue
        lq = read_rgb(file)
        missing_rows = abs(lq.shape[0] * scale - whole.shape[0])
        missing_columns = abs(lq.shape[1] * scale - whole.shape[1])
        if max(missing_rows, missing_columns) >= scale:
            raise DataError(
                f'{file}: {lq.shape[1]} x {lq.shape[0]} pixels times {scale} do not fit {item.hr} of '
                f'{whole.shape[1]} x {whole.shape[0]}. Take both from the same download.'
            )
        images[scale] = lq[: height // scale, : width // scale]
    return images


def _find(source: Path, member: str, scales: list[int]) -> tuple[Path, dict[int, Path | None]]:
    """Find the folder of the high-resolution images and, by scale, those of the low-resolution ones, or None."""
    hr_name, lr_name = _FOLDERS[member]
    places: list[Path] = []
    for root in roots(source):
        places += roots(root)
    hr_folder = source if source.name == hr_name else _first_folder(places, hr_name)
    if hr_folder is None:
        raise UserError(
            f'{source}: no folder {hr_name} found. Give the folder that {hr_name} and {lr_name} were unpacked to.'
        )
    return hr_folder, {scale: _first_folder(places, f'{lr_name}/X{scale}') for scale in scales}


def _first_folder(places: Iterable[Path], name: str) -> Path | None:
    for place in places:
        if (place / name).is_dir():
            return place / name
    return None


def _partners(file: Path, folders: dict[int, Path | None]) -> dict[int, Path | None]:
    """Find the low-resolution files of an image, by scale; None where there is no folder of them."""
    found: dict[int, Path | None] = {}
    for scale, folder in folders.items():
        found[scale] = None if folder is None else _partner(file, folder, scale)
    return found


def _partner(file: Path, folder: Path, scale: int) -> Path:
    names = [f'{file.stem}x{scale}{file.suffix}', file.name]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f'{folder}: has neither {shorten(names)}, the partner of {file}. Complete the download, or add '
        '--allow-incomplete to go on without it.'
    )
