"""HIDE (Shen et al., ICCV 2019): a test set of people in motion, in two folders that are scored together."""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.prepare.layouts import (
    flat_folders,
    image_files,
    leave_out,
    pair_by_name,
    pair_folders,
    roots,
    sub_folders,
    wrong_layout,
)
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError

PARTS = ('test',)
LAYOUTS = ('test/{test-close-ups,test-long-shot} beside GT', '{input,target}', 'test/{blur,sharp}')
_HALVES = ('close-ups', 'long-shot')


def find(source: Path, part: str, *, alone: list[str] | None = None) -> tuple[str, list[Pair]]:
    """Find the test pairs in the original layout or in a flat copy.

    The sharp images of the original lie in one folder with those of the training part; each blurred image belongs to
    the one of the same name. Files without partner are added to ``alone``, or refused if it is None.

    Raises:
        UserError: If nothing is found, one of the two halves is missing, or images are left without partner.
    """
    for root in roots(source):
        if (root / 'GT').is_dir() and (root / 'test').is_dir():
            return 'original', _pairs_of(root, alone)
    folders = flat_folders(source, part, ('HIDE', 'HIDE_dataset'))
    if folders:
        return 'flat', pair_folders(*folders, alone=alone)
    raise wrong_layout(source, 'HIDE', part, LAYOUTS)


def _pairs_of(root: Path, alone: list[str] | None) -> list[Pair]:
    folders = sub_folders(root / 'test')
    for half in _HALVES:
        if not any(half in folder.name for folder in folders):
            raise UserError(
                f'{root / "test"} has no folder test-{half}: HIDE is scored on both halves together. Complete the '
                'download.'
            )
    blurred = []
    for folder in folders:
        blurred += image_files(folder)
    stems = {file.stem for file in blurred}
    sharp = [file for file in image_files(root / 'GT') if file.stem in stems]
    without = sorted(stems - {file.stem for file in sharp})
    leave_out(without, alone, f'{root / "GT"} lacks {{}} sharp images')
    return pair_by_name([file for file in blurred if file.stem not in without], sharp, root)
