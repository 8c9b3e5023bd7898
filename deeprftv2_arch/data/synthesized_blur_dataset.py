"""Pairs made of sharp photographs while training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from deeprftv2_arch.config.blur_synthesis import BlurSettings
from deeprftv2_arch.config.schema import SYNTHESIZED_BLUR_DATASET
from deeprftv2_arch.config.validators import height_and_width, reject_unknown_keys
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.paired_dataset import dataset_place
from deeprftv2_arch.data.photograph_folder import PhotographFolder
from deeprftv2_arch.data.synthesis.kernels import centred
from deeprftv2_arch.data.synthesis.pairs import draw_pair, smallest_photograph
from deeprftv2_arch.utils.errors import UserError

if TYPE_CHECKING:
    from deeprftv2_arch.data.sampling import Sample

MEGABYTE = 1 << 20


@DATASET_REGISTRY.register()
class SynthesizedBlurDataset(Dataset):
    """Crops of sharp photographs, each blurred by a kernel of its own, in linear light.

    A pair is a function of the sample's seed alone. Asked by number instead of by a
    :class:`~deeprftv2_arch.data.sampling.Sample`, as in validation, the number is the seed: each photograph then gives
    the same pair every time.

    Args:
        opt: The data set's section of the option file:

            * ``dataroot_gt``: folder of sharp photographs; its sub-folders are searched too.
            * ``gt_size``: size of the crops in pixels, one number or ``[height, width]``. Samples that bring their own
              size, as those of a training in stages do, go before.
            * ``long_side``: larger photographs are reduced to this many pixels (default 1152).
            * ``cache_mb``: memory for decoded photographs, for each process that reads (default 512).
            * ``return_kernel``: give the true kernel with each pair (default false).
            * every field of :class:`~deeprftv2_arch.config.blur_synthesis.BlurSettings`.
            * ``phase``: ``train``, ``val`` or ``test``, set by BasicSR. ``scale``: absent or 1.

    Raises:
        UserError: If a key or the folder is wrong.
    """

    takes_samples = True

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.where = dataset_place(opt)
        reject_unknown_keys(opt, (*SYNTHESIZED_BLUR_DATASET.names, 'phase'), self.where)
        for name, value in opt.items():
            key = SYNTHESIZED_BLUR_DATASET.find(name)
            if key is not None and not key.accepts(value):
                raise UserError(f'{self.where}.{name}: expected {key.expected()}, got {value!r}.')
        if opt.get('scale', 1) != 1:
            raise UserError(f'{self.where}.scale: blurred and sharp images have the same size: it must be 1 or absent.')
        self.settings = _settings(opt, self.where)
        self.crop_size = height_and_width(opt, 'gt_size', self.where) if 'gt_size' in opt else None
        self.return_kernel = opt.get('return_kernel', False)
        self.photographs = PhotographFolder(
            opt['dataroot_gt'],
            f'{self.where}.dataroot_gt',
            long_side=opt.get('long_side', 1152),
            cache_bytes=opt.get('cache_mb', 512) * MEGABYTE,
        )

    def __len__(self) -> int:
        return len(self.photographs)

    @property
    def names(self) -> list[str]:
        """Names of the photographs below their folder, in order."""
        return self.photographs.names

    def __getitem__(self, sample: int | Sample) -> dict[str, Tensor | str]:
        """Make one pair.

        Args:
            sample: Number of the photograph, or a sample with the size of the crop and the seed of all that is random.

        Returns:
            ``lq`` and ``gt``: float32 (3, H, W), RGB in [0, 1]; ``lq_path`` and ``gt_path``: the photograph's path;
            with ``return_kernel``, ``kernel``: float32 (k, k), the kernel at the centre of the crop, k the same for
            all pairs.

        Raises:
            DataError: If the photograph cannot be read or is too small for the crop.
        """
        index, size, seed = sample if isinstance(sample, tuple) else (sample, None, sample)
        size = size or self.crop_size
        if size is None:
            raise DataError(f'{self.where}.gt_size is missing: the size of the crops. Or give train.stages.')
        photograph = self.photographs.read(index)
        path = str(self.photographs.paths[index])
        needed = smallest_photograph(size, self.settings)
        if photograph.shape[0] < needed[0] or photograph.shape[1] < needed[1]:
            raise DataError(
                f'{path}: {photograph.shape[1]} x {photograph.shape[0]} pixels are too few: crops of gt_size with the '
                f'surroundings that blur in need {needed[1]} x {needed[0]}. Remove the photograph, or lower gt_size.'
            )
        pair = draw_pair(photograph, size, self.settings, np.random.default_rng(seed))
        item: dict[str, Tensor | str] = {
            'lq': _to_tensor(pair.blurred.astype(np.float32) / 255),
            'gt': _to_tensor(pair.sharp),
            'lq_path': path,
            'gt_path': path,
        }
        if self.return_kernel:
            kernel = centred(pair.blur.kernel(), 2 * self.settings.margin + 1)
            item['kernel'] = torch.from_numpy(kernel.astype(np.float32))
        return item

    def check_crop(self, size: tuple[int, int]) -> None:
        """Accept any size of crop: what is too large for a photograph is told when it is met."""


def _settings(opt: Mapping[str, Any], where: str) -> BlurSettings:
    """Read the ranges.

    Raises:
        UserError: If one cannot be, naming it.
    """
    given = {one.name: opt[one.name] for one in fields(BlurSettings) if one.name in opt}
    for name, value in given.items():
        if isinstance(value, list):
            given[name] = tuple(value)
    try:
        return BlurSettings(**given)
    except ValueError as error:
        raise UserError(f'{where}.{error}') from error


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))
