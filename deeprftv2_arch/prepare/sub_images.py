"""DIV2K and Flickr2K (together DF2K) for super-resolution: overlapping sub-images of the high- and low-resolution ones.

The windows are those of BasicSR's recipe: 480 pixels every 240 of the high-resolution image, the same places in the
low-resolution ones, and windows at the borders however little is left for them. DIV2K's 800 images give 32,592.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Iterator
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
from deeprftv2_arch.prepare.plan import Made, Outcome, Place, Plan
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
    items, made_here = [], set()
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
        items += [SubImages(file.stem, file, _partners(file, lr_folders)) for file in files]
    if made_here:
        print(f'Low-resolution images are made (bicubic) for x{", x".join(map(str, sorted(made_here)))}.')
    return Plan(
        name=args.name,
        layout='original' + (f', LR made for {sorted(made_here)}' if made_here else ''),
        job=cut_sub_images,
        items=items,
        counts={'train': (len(items), KNOWN_SETS[args.name].images['train'])},
        options={},
        lmdb_folders=['train/HR_sub', *(f'train/LRx{scale}_sub' for scale in args.scales)],
        folders=('train',),
    )


def cut_sub_images(item: SubImages, place: Place) -> Outcome:
    """Cut all sub-images of an image that are missing or not as new as their source."""
    name = f'train/{item.name}'
    try:
        header = png_header(item.hr)
        if header:
            wanted = list(_outputs(item, header.height, header.width))
            if all(is_current(place.out / made.file, source) for made, source, _, _ in wanted):
                return Outcome(name, tuple(made for made, _, _, _ in wanted))
        images = _read_all(item)
        height, width = images[1].shape[:2]
        written, made = 0, []
        for entry, source, scale, (top, left) in _outputs(item, height, width):
            if not is_current(place.out / entry.file, source):
                crop = images[scale][top : top + entry.height, left : left + entry.width]
                write_file(place, entry.file, source, encode_png(crop))
                written += 1
            made.append(entry)
    except DataError as error:
        return Outcome(name, error=str(error))
    return Outcome(name, tuple(made), written)


def _outputs(item: SubImages, height: int, width: int) -> Iterator[tuple[Made, Path, int, tuple[int, int]]]:
    """Each file to be made, its source, its scale, and where in the image of that scale its window starts."""
    multiple = _multiple(item)
    try:
        grid = windows(height - height % multiple, width - width % multiple, SIZE, STEP)
    except ValueError as error:
        raise DataError(f'{item.hr}: {error}. Take the original image.') from error
    for scale, source in {1: item.hr, **item.lr}.items():
        folder, side = ('HR_sub' if scale == 1 else f'LRx{scale}_sub'), SIZE // scale
        for number, (top, left) in enumerate(grid, start=1):
            made = Made(f'train/{folder}/{item.name}_s{number:03}.png', side, side, 8)
            yield made, source or item.hr, scale, (top // scale, left // scale)


def _multiple(item: SubImages) -> int:
    """Of what the sides of the high-resolution image must be multiples, so that windows fall on whole pixels."""
    return math.lcm(*item.lr)


def _read_all(item: SubImages) -> dict[int, np.ndarray]:
    """The images by scale, cut to sides that fit each other exactly."""
    whole = read_rgb(item.hr)
    images = {1: crop_to_multiple(whole, _multiple(item))}
    height, width = images[1].shape[:2]
    for scale, file in item.lr.items():
        low = read_rgb(file) if file else downsample(images[1], scale)
        gaps = [abs(side * scale - full) for side, full in zip(low.shape[:2], whole.shape[:2], strict=True)]
        if file and max(gaps) >= scale:
            raise DataError(
                f'{file}: {low.shape[1]} x {low.shape[0]} pixels times {scale} do not fit {item.hr} of '
                f'{whole.shape[1]} x {whole.shape[0]}. Take both from the same download.'
            )
        images[scale] = low[: height // scale, : width // scale]
    return images


def _find(source: Path, member: str, scales: list[int]) -> tuple[Path, dict[int, Path | None]]:
    """The folder of the high-resolution images and, by scale, those of the low-resolution ones, or None."""
    hr_name, lr_name = _FOLDERS[member]
    places = [below for root in roots(source) for below in roots(root)]
    hr_folder = next((place / hr_name for place in places if (place / hr_name).is_dir()), None)
    if source.name == hr_name:
        hr_folder = source
    if hr_folder is None:
        raise UserError(
            f'{source}: no folder {hr_name} found. Give the folder that {hr_name} and {lr_name} were unpacked to.'
        )
    lr = {
        scale: next((p / lr_name / f'X{scale}' for p in places if (p / lr_name / f'X{scale}').is_dir()), None)
        for scale in scales
    }
    return hr_folder, lr


def _partners(file: Path, folders: dict[int, Path | None]) -> dict[int, Path | None]:
    found: dict[int, Path | None] = {}
    for scale, folder in folders.items():
        names = [f'{file.stem}x{scale}{file.suffix}', file.name]
        found[scale] = next((folder / name for name in names if (folder / name).is_file()), None) if folder else None
        if folder and found[scale] is None:
            raise UserError(f'{folder}: has neither {shorten(names)}, the partner of {file}. Complete the download.')
    return found
