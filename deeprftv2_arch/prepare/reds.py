"""REDS (Nah et al., CVPRW 2019) with JPEG artefacts: track 2 of the NTIRE 2021 challenge, and its 300 test frames."""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.prepare.layouts import (
    flat_folders,
    image_files,
    pair_by_name,
    pair_folders,
    roots,
    sub_folders,
    wrong_layout,
)
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError

PARTS = ('train', 'val')


def find(source: Path, part: str, *, alone: list[str] | None = None) -> tuple[str, list[Pair]]:
    """Find the pairs of a part in the original layout, one folder for each clip, or in a flat copy.

    Of the validation clips every tenth frame is taken, whose name ends in 9. Blurred frames are JPEG files and sharp
    ones PNG files; both are kept as they are. Files without
    partner are added to ``alone``, or refused if it is None.

    Returns:
        The name of the layout, and the pairs, named ``CLIP_FRAME``.

    Raises:
        UserError: If nothing is found, only the version without JPEG is, or images are left without partner.
    """
    blur_names = (f'{part}_blur_jpeg', 'blur_300')
    sharp_names = (f'{part}_sharp', 'sharp_300')
    starts = []
    for root in roots(source):
        starts += [root / part, root]
    for root in starts:
        for blur, sharp in zip(blur_names, sharp_names, strict=True):
            if (root / sharp).is_dir() and (root / blur).is_dir():
                return _pairs_of(root / blur, root / sharp, part, alone)
        if (root / f'{part}_blur').is_dir():
            raise UserError(
                f'{root} has {part}_blur and no {part}_blur_jpeg. The published values are for the version with JPEG '
                f'artefacts (track 2 of NTIRE 2021): download {part}_blur_jpeg.'
            )
    folders = flat_folders(source, part, ('REDS',))
    if folders:
        return 'flat', _test_frames(part, pair_folders(*folders, alone=alone))
    layouts = (
        f'{part}/{{{part}_blur_jpeg,{part}_sharp}}/CLIP',
        f'{part}/{{blur_300,sharp_300}}',
        f'{part}/{{blur,sharp}}',
    )
    raise wrong_layout(source, 'REDS', part, layouts)


def _pairs_of(blur: Path, sharp: Path, part: str, alone: list[str] | None) -> tuple[str, list[Pair]]:
    if image_files(sharp):
        return 'flat', _test_frames(part, pair_folders(blur, sharp, alone=alone))
    frames = _clip_frames(blur), _clip_frames(sharp)
    pairs = pair_by_name(*frames, where=sharp.parent, name=_clip_and_frame, alone=alone)
    return 'original', _test_frames(part, pairs)


def _clip_frames(folder: Path) -> list[Path]:
    frames = []
    for clip in sub_folders(folder):
        frames += image_files(clip)
    return frames


def _clip_and_frame(file: Path) -> str:
    return f'{file.parent.name}_{file.stem}'


def _test_frames(part: str, pairs: list[Pair]) -> list[Pair]:
    """Keep every tenth frame of the validation part."""
    if part != 'val':
        return pairs
    return [pair for pair in pairs if pair.name.endswith('9')]
