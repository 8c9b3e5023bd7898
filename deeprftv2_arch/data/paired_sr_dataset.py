"""Pairs of a small and a large image, for training and validation of super-resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from deeprftv2_arch.config.schema import PAIRED_SR_DATASET
from deeprftv2_arch.config.validators import positive_integer
from deeprftv2_arch.data.paired_dataset import PairedDataset, dataset_place


@DATASET_REGISTRY.register()
class PairedSRDataset(PairedDataset):
    """Low- and high-resolution images, paired by name, for training and validation.

    Training cuts a random rectangle and turns or mirrors it; validation returns whole images. Rows and columns of a
    large image that the scale does not divide are cut off at the bottom and the right, as the small image was made.

    Args:
        opt: The data set's section of the option file:

            * ``scale``: pixels of the large image for one of the small image, along each side. BasicSR copies it from
              the top of the option file.
            * ``dataroot_gt``, ``dataroot_lq``: folders (or LMDBs) of the large and the small images.
            * ``io_backend``, ``recursive``, ``meta_info_file``, ``bit_depth``: as for ``PairedDeblurDataset``.
            * ``filename_tmpl``: stem of a small image given that of the large one (default ``'{}'``), such as
              ``'{}x2'`` for DIV2K.
            * ``gt_size``: training crop in pixels of the large image, one number or ``[height, width]``, a multiple of
              ``scale``.
            * ``augmentation``, or ``use_hflip`` and ``use_rot``: as for ``PairedDeblurDataset``.
            * ``protocol``: name of the published protocol that a test follows; not read here.
            * ``phase``: ``train``, ``val`` or ``test``, set by BasicSR.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt, PAIRED_SR_DATASET, scale=positive_integer(opt, 'scale', dataset_place(opt)))
