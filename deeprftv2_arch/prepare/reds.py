"""REDS (Nah et al., CVPRW 2019) with JPEG artefacts: track 2 of the NTIRE 2021 challenge, and its 300 test frames."""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.prepare.layouts import flat_folders, image_files, pair_by_name, roots, sub_folders, wrong_layout
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError

PARTS = ('train', 'val')


def find(source: Path, part: str) -> tuple[str, list[Pair]]:
    """Find the pairs of a part in the original layout, one folder for each clip, or in a flat copy.

    Of the validation clips every tenth frame is taken, whose name ends in 9. Blurred frames are JPEG files and sharp
    ones PNG files; both are kept as they are.

    Returns:
        The name of the layout, and the pairs, named ``CLIP_FRAME``.

    Raises:
        UserError: If nothing is found, only the version without JPEG is, or images are left without partner.
    """
    blur_names = (f'{part}_blur_jpeg', 'blur_300')
    sharp_names = (f'{part}_sharp', 'sharp_300')
    for root in [base for start in roots(source) for base in (start / part, start)]:
        for blur, sharp in zip(blur_names, sharp_names, strict=True):
            if (root / sharp).is_dir() and (root / blur).is_dir():
                return _pairs_of(root / blur, root / sharp, part)
        if (root / f'{part}_blur').is_dir():
            raise UserError(
                f'{root} has {part}_blur and no {part}_blur_jpeg. The published figures are for the version with JPEG '
                f'artefacts (track 2 of NTIRE 2021): download {part}_blur_jpeg.'
            )
    folders = flat_folders(source, part, ('REDS',))
    if folders:
        return 'flat', _test_frames(part, pair_by_name(*map(image_files, folders), where=folders[0].parent))
    layouts = (
        f'{part}/{{{part}_blur_jpeg,{part}_sharp}}/CLIP',
        f'{part}/{{blur_300,sharp_300}}',
        f'{part}/{{blur,sharp}}',
    )
    raise wrong_layout(source, 'REDS', part, layouts)


def _pairs_of(blur: Path, sharp: Path, part: str) -> tuple[str, list[Pair]]:
    if image_files(sharp):
        return 'flat', _test_frames(part, pair_by_name(image_files(blur), image_files(sharp), sharp.parent))
    clips = [[file for clip in sub_folders(folder) for file in image_files(clip)] for folder in (blur, sharp)]
    return 'original', _test_frames(part, pair_by_name(*clips, where=sharp.parent, name=_clip_and_frame))


def _clip_and_frame(file: Path) -> str:
    return f'{file.parent.name}_{file.stem}'


def _test_frames(part: str, pairs: list[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.name.endswith('9')] if part == 'val' else pairs
