"""GoPro (GOPRO_Large; Nah et al., CVPR 2017): frames of 33 sequences, one folder for each.

Of the two versions of the blurred images the linear one, ``blur``, is taken. The published metric values of this line
of work are for it; ``blur_gamma`` is another problem.
"""

from __future__ import annotations

from pathlib import Path

from deeprftv2_arch.prepare.crops import Crops
from deeprftv2_arch.prepare.layouts import flat_folders, pair_folders, roots, sub_folders, wrong_layout
from deeprftv2_arch.prepare.plan import Pair
from deeprftv2_arch.utils.errors import UserError

PARTS = ('train', 'test')
CROPS = Crops(size=512, step=256)
"""8 of each image of 1280x720, as NAFNet and Restormer cut them."""

LAYOUTS = ('{part}/SEQUENCE/{{blur,sharp}}', '{part}/{{blur,sharp}}', '{part}/{{input,target}}')


def find(source: Path, part: str, *, alone: list[str] | None = None) -> tuple[str, list[Pair]]:
    """Find the pairs of a part in the original layout or in a flat copy.

    Args:
        source: The download.
        part: train or test.
        alone: Filled with the files that have no partner; None to refuse them.

    Returns:
        The name of the layout, and the pairs. Files of the original get the name of their sequence in front.

    Raises:
        UserError: If nothing is found, only gamma versions are, or images are left without partner.
    """
    for root in roots(source):
        sequences = [folder for folder in sub_folders(root / part) if (folder / 'sharp').is_dir()]
        if sequences:
            pairs = []
            for sequence in sequences:
                pairs += _pairs_of(sequence, alone)
            return 'original', pairs
    folders = flat_folders(source, part, ('GoPro', 'GOPRO', 'GOPRO_Large'))
    if folders:
        return 'flat', pair_folders(*folders, alone=alone)
    _refuse_gamma(source / part)
    raise wrong_layout(source, 'GoPro', part, [layout.format(part=part) for layout in LAYOUTS])


def _pairs_of(sequence: Path, alone: list[str] | None) -> list[Pair]:
    _refuse_gamma(sequence)
    if not (sequence / 'blur').is_dir():
        raise UserError(f'{sequence} has no folder blur. Complete the download.')
    pairs = pair_folders(sequence / 'blur', sequence / 'sharp', alone=alone)
    return [pair._replace(name=f'{sequence.name}-{pair.name}') for pair in pairs]


def _refuse_gamma(folder: Path) -> None:
    if (folder / 'blur_gamma').is_dir() and not (folder / 'blur').is_dir():
        raise UserError(
            f'{folder} has blur_gamma and no blur. The published values are for blur, the average of linear frames '
            'without the gamma curve. Unpack the whole of GOPRO_Large.'
        )
