"""Pairs of a small and a large image, for training and validation of super-resolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from deeprftv2_arch.config.schema import PairedSROptions
from deeprftv2_arch.data.paired_dataset import PairedDataset, dataset_place
from deeprftv2_arch.utils.errors import UserError


@DATASET_REGISTRY.register()
class PairedSRDataset(PairedDataset):
    """Low- and high-resolution images, paired by name, for training and validation.

    Training cuts a random rectangle and turns or mirrors it; validation returns whole images. Rows and columns of a
    large image that the scale does not divide are cut off at the bottom and the right, as the small image was made.

    Args:
        opt: The data set's section of the option file, with what BasicSR adds. ``docs/options.md`` lists its keys.
            ``scale`` is needed; ``gt_size`` counts pixels of the large image and is a multiple of it.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    Options = PairedSROptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        if opt.get('scale') is None:
            raise UserError(f'{dataset_place(opt)}.scale: missing. Pixels of the large image for one of the small one.')
        super().__init__(opt)
