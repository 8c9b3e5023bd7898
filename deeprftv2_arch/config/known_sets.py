"""What is known of the public data sets: how many images there are, how large, how deep.

Counted from the authors' own lists (GoPro, RealBlur, DPDD) or stated by the authors (HIDE, REDS, the super-resolution
sets). Preparation, checks and protocols compare with these numbers; they stand nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class KnownSet(NamedTuple):
    """One public data set.

    Attributes:
        title: Its name in tables.
        folder: Its folder below ``datasets/``.
        images: Number of pairs of each part; of images, where there are no pairs.
        size: Height and width in pixels, where all images have the same; else None.
        bit_depth: Bits per channel of the files that the authors hand out.
        train_crops: Number of training crops or sub-images that the published cutting makes of all training images.
    """

    title: str
    folder: str
    images: Mapping[str, int]
    size: tuple[int, int] | None
    bit_depth: int = 8
    train_crops: int | None = None


KNOWN_SETS: Mapping[str, KnownSet] = {
    'gopro': KnownSet('GoPro', 'GoPro', {'train': 2103, 'test': 1111}, (720, 1280), train_crops=16824),
    'hide': KnownSet('HIDE', 'HIDE', {'test': 2025}, (720, 1280)),
    'realblur_r': KnownSet('RealBlur-R', 'RealBlur_R', {'train': 3758, 'test': 980}, None),
    'realblur_j': KnownSet('RealBlur-J', 'RealBlur_J', {'train': 3758, 'test': 980}, None),
    # 24,000 frames of 240 clips; of the 3,000 of the validation clips those whose name ends in 9 (NTIRE 2021).
    'reds': KnownSet('REDS', 'REDS', {'train': 24000, 'val': 300}, (720, 1280)),
    'dpdd': KnownSet(
        'DPDD', 'DPDD', {'train': 350, 'val': 74, 'test': 76}, (1120, 1680), bit_depth=16, train_crops=7000
    ),
    'div2k': KnownSet('DIV2K', 'DIV2K', {'train': 800}, None, train_crops=32592),
    'flickr2k': KnownSet('Flickr2K', 'Flickr2K', {'train': 2650}, None),
    'df2k': KnownSet('DF2K', 'DF2K', {'train': 800 + 2650}, None),
    'set5': KnownSet('Set5', 'SR/Set5', {'test': 5}, None),
    'set14': KnownSet('Set14', 'SR/Set14', {'test': 14}, None),
    'bsd100': KnownSet('BSD100', 'SR/BSD100', {'test': 100}, None),
    'urban100': KnownSet('Urban100', 'SR/Urban100', {'test': 100}, None),
    'manga109': KnownSet('Manga109', 'SR/Manga109', {'test': 109}, None),
}
"""By the name that commands and option files use."""

SR_BENCHMARK = ('set5', 'set14', 'bsd100', 'urban100', 'manga109')
"""The five sets that super-resolution networks are compared on."""
