"""Pairs of a blurred and a sharp photograph, for training and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from deeprftv2_arch.config.schema import PAIRED_DEBLUR_DATASET
from deeprftv2_arch.data.paired_dataset import PairedDataset, dataset_place
from deeprftv2_arch.utils.errors import UserError


@DATASET_REGISTRY.register()
class PairedDeblurDataset(PairedDataset):
    """Blurred and sharp images of equal size, paired by name, for training and validation.

    Training cuts a random rectangle and turns or mirrors it; validation returns whole images. Images of any depth are
    divided by their own white.

    Args:
        opt: The data set's section of the option file. ``docs/data.md`` has examples for each public data set.

            * ``dataroot_gt``, ``dataroot_lq``: folders (or LMDBs) of the sharp and the blurred images.
            * ``io_backend``: ``{type: disk}`` or ``{type: lmdb}``; the latter takes ``readahead`` too.
            * ``recursive``: take sub-folders too (folders only, default false).
            * ``meta_info_file``, ``filename_tmpl``: list of pairs; blurred stem from sharp stem (default ``'{}'``).
            * ``bit_depth``: absent for the depth of the files; 8 to read any file with 8 bits, as OpenCV does; 16 to
              refuse files of other depths.
            * ``allow_gamma``: take blurred images from a folder ``blur_gamma`` (default false).
            * ``gt_size``: training crop in pixels, one number or ``[height, width]``. Samples that bring their own
              size, as those of a training in stages do, go before.
            * ``pad_to``: ``[height, width]`` that smaller images are brought to by zeros at the bottom and the right.
            * ``augmentation``: 8 for all symmetries of the square, 4 for those that keep height and width (none, left
              and right, top and bottom, both), 0 for none. Or, as in BasicSR, ``use_hflip`` (left and right) and
              ``use_rot`` (top and bottom, transposition), both true by default. Validation has none.
            * ``protocol``, ``groups``: the published protocol that a test follows, and images whose means it shows
              apart; read by the model.
            * ``phase``: ``train``, ``val`` or ``test``, set by BasicSR. ``scale``: absent or 1.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        if opt.get('scale', 1) != 1:
            where = dataset_place(opt)
            raise UserError(f'{where}.scale: blurred and sharp images have the same size, so it must be 1 or absent.')
        super().__init__(opt, PAIRED_DEBLUR_DATASET)
