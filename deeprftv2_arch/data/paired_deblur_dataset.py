"""Pairs of a blurred and a sharp photograph, for training and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from deeprftv2_arch.config.schema import PairedDeblurOptions
from deeprftv2_arch.data.paired_dataset import PairedDataset
from deeprftv2_arch.utils.errors import UserError


@DATASET_REGISTRY.register()
class PairedDeblurDataset(PairedDataset):
    """Blurred and sharp images of equal size, paired by name, for training and validation.

    Training cuts a random rectangle and turns or mirrors it; validation returns whole images. Images of any depth are
    scaled by the maximum of their type.

    Args:
        opt: The data set's section of the option file, with what BasicSR adds. ``docs/options.md`` lists its keys,
            ``docs/data.md`` has examples for each public data set. Samples that bring their own size of crops, as those
            of a training in stages do, go before ``gt_size``.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    Options = PairedDeblurOptions
    options: PairedDeblurOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        self.pad_to = self.options.pad_to
        if self.scale != 1:
            raise UserError(
                f'{self.where}.scale: blurred and sharp images have the same size, so it must be 1 or absent.'
            )
