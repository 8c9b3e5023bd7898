"""One's own photographs: checked, reduced, and parted into what is trained on and fixed pairs to validate with.

``train`` gets sharp photographs, which :class:`~deeprftv2_arch.data.SynthesizedBlurDataset` blurs while training goes
on. ``val/sharp`` and ``val/blur`` get one crop of each photograph held aside and what a camera made of it, and
``val/kernels`` the kernel at the centre of the crop: a grey picture of 16 bits that is to be divided by its sum.
"""

from __future__ import annotations

import hashlib
import os
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.photograph_folder import read_photograph
from deeprftv2_arch.data.synthesis.camera import to_uint8
from deeprftv2_arch.data.synthesis.kernels import centred
from deeprftv2_arch.data.synthesis.pairs import draw_pair
from deeprftv2_arch.prepare.files import is_current, write_file
from deeprftv2_arch.prepare.image_io import encode_png
from deeprftv2_arch.prepare.layouts import photographs_below
from deeprftv2_arch.prepare.photo_quality import LONG_SIDE, Inspected, inspect_photograph
from deeprftv2_arch.prepare.photo_scenes import choose_validation, find_copies, group_scenes
from deeprftv2_arch.prepare.plan import JobResult, OutputDirs, OutputFile, Plan
from deeprftv2_arch.prepare.workers import run_jobs
from deeprftv2_arch.utils.errors import UserError

CROP = 256
"""Side of the validation pairs in pixels."""

JPEG_QUALITY = 95


class Photograph(NamedTuple):
    """A photograph that is used.

    Attributes:
        path: The file.
        stem: Stem of the files made of it.
        part: ``train`` or ``val``.
    """

    path: Path
    stem: str
    part: str


def plan_photos(args: Namespace) -> Plan:
    """Look at every photograph of a folder and its sub-folders, and plan what becomes of each.

    Raises:
        UserError: If the arguments do not fit, if there are no photographs, or too few that can be used.
    """
    _refuse_other_options(args)
    paths = photographs_below(args.source)
    if not paths:
        raise UserError(f'--source {args.source}: neither the folder nor its sub-folders hold any images.')
    names = [path.relative_to(args.source).as_posix() for path in paths]
    inspected = list(run_jobs(inspect_photograph, paths, workers=args.workers, label='inspect'))
    faults = {name: one.fault for name, one in zip(names, inspected, strict=True) if one.fault}
    good = [index for index, one in enumerate(inspected) if not one.fault]
    copies = find_copies([inspected[index].thumbnail for index in good], [_worth(inspected[index]) for index in good])
    for copy, kept in copies.items():
        faults[names[good[copy]]] = f'nearly the same as {names[good[kept]]}'
    used = [index for place, index in enumerate(good) if place not in copies]
    if len(used) < 2:
        reasons = '; '.join(f'{name}: {fault}' for name, fault in list(faults.items())[:3])
        raise UserError(
            f'--source {args.source}: {len(used)} of {len(paths)} photographs can be used, and at least two are '
            f'needed. {reasons}'
        )
    used_names = [names[index] for index in used]
    groups = group_scenes(used_names, [inspected[index].thumbnail for index in used])
    validation = choose_validation(used_names, groups)
    items = [
        Photograph(paths[index], _stem(names[index]), 'val' if place in validation else 'train')
        for place, index in enumerate(used)
    ]
    _check_stems(items)
    counts = {part: sum(item.part == part for item in items) for part in ('train', 'val')}
    _tell(faults, counts, len(groups))
    return Plan(
        name='photos',
        layout='a folder of photographs',
        job=prepare_photograph,
        items=items,
        counts={part: (count, None) for part, count in counts.items()},
        options={'long_side': LONG_SIDE, 'crop': CROP},
        folders=('train', 'val'),
        lmdb_folders=(),
        left_out=[{'image': f'train/{name}', 'reason': fault} for name, fault in faults.items()],
    )


def prepare_photograph(item: Photograph, dirs: OutputDirs) -> JobResult:
    """Write what becomes of one photograph; nothing if it is there and of the same age."""
    name = f'{item.part}/{item.stem}'
    try:
        return _write_photograph(item, dirs) if item.part == 'train' else _write_pair(item, dirs)
    except (DataError, OSError) as error:
        return JobResult(name, error=str(error))


def _write_photograph(item: Photograph, dirs: OutputDirs) -> JobResult:
    file = f'train/{item.stem}.jpg'
    image = read_photograph(item.path, LONG_SIDE)
    height, width = image.shape[:2]
    made = OutputFile(file, height, width, 8)
    if is_current(dirs.out / file, item.path):
        return JobResult(file, (made,))
    data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()

    def write(path: Path) -> None:
        path.write_bytes(data)

    write_file(dirs, file, item.path, write)
    return JobResult(file, (made,), 1)


def _write_pair(item: Photograph, dirs: OutputDirs) -> JobResult:
    settings = BlurSettings()
    size = 2 * settings.margin + 1
    files = {role: f'val/{role}/{item.stem}.png' for role in ('blur', 'sharp', 'kernels')}
    made = (
        OutputFile(files['blur'], CROP, CROP, 8),
        OutputFile(files['sharp'], CROP, CROP, 8),
        OutputFile(files['kernels'], size, size, 16),
    )
    missing = [role for role, file in files.items() if not is_current(dirs.out / file, item.path)]
    if not missing:
        return JobResult(f'val/{item.stem}', made)
    pair = draw_pair(read_photograph(item.path, LONG_SIDE), (CROP, CROP), settings, np.random.default_rng(_seed(item)))
    kernel = centred(pair.blur.kernel(), size)
    images = {
        'blur': pair.blurred[..., ::-1],
        'sharp': to_uint8(pair.sharp)[..., ::-1],
        'kernels': np.rint(kernel * (65535 / kernel.max())).astype(np.uint16),
    }
    for role in missing:
        write_file(dirs, files[role], item.path, encode_png(images[role]))
    return JobResult(f'val/{item.stem}', made, len(missing))


def _seed(item: Photograph) -> int:
    """The same pair for the same name, whatever other photographs there are."""
    return int.from_bytes(hashlib.sha256(item.stem.encode()).digest()[:7], 'big')


def _worth(one: Inspected) -> float:
    """The more sharp pixels a photograph has, the better."""
    return one.sharp * one.height * one.width


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].replace('/', '-')


def _check_stems(items: list[Photograph]) -> None:
    seen: dict[str, Path] = {}
    for item in items:
        if item.stem in seen:
            raise UserError(f'{seen[item.stem]} and {item.path} would both become {item.stem}. Rename one of them.')
        seen[item.stem] = item.path


def _refuse_other_options(args: Namespace) -> None:
    options: dict[str, Any] = vars(args)
    others = ('parts', 'crops', 'lmdb', 'link', 'bit_depth', 'indoor_list', 'outdoor_list', 'pairs', 'lists')
    for option in others:
        if options.get(option):
            raise UserError(f'--{option.replace("_", "-")}: photos has no use for it. Leave it out.')


def _tell(faults: dict[str, str], counts: dict[str, int], scenes: int) -> None:
    print(
        f'{counts["train"]} photographs to train on, {counts["val"]} to validate with, of {scenes} scenes; '
        f'{len(faults)} left out'
    )
