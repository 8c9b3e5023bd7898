"""Pairs made of sharp photographs while training goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from deeprftv2_arch.config.blur_synthesis import SynthesizedBlurOptions
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.paired_dataset import dataset_place, written_options
from deeprftv2_arch.data.photograph_folder import PhotographFolder
from deeprftv2_arch.data.synthesis.kernels import centred
from deeprftv2_arch.data.synthesis.pairs import draw_pair, smallest_photograph

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
        opt: The data set's section of the option file; ``Options`` declares its keys.

    Attributes:
        opt: The same, for BasicSR.
        options: The same with typed values.

    Raises:
        UserError: If a key or the folder is wrong.
    """

    Options: ClassVar[type[SynthesizedBlurOptions]] = SynthesizedBlurOptions
    """The keys that may stand in an option file, see :mod:`deeprftv2_arch.config.options`."""

    takes_samples = True

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.where = dataset_place(opt)
        self.opt = opt
        self.options = self.Options.read(written_options(opt), self.where, type(self).__name__)
        self.photographs = PhotographFolder(
            self.options.dataroot_gt,
            f'{self.where}.dataroot_gt',
            long_side=self.options.long_side,
            cache_bytes=self.options.cache_mb * MEGABYTE,
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
        size = size or self.options.gt_size
        if size is None:
            raise DataError(f'{self.where}.gt_size is missing: the size of the crops. Or give train.stages.')
        photograph = self.photographs.read(index)
        path = str(self.photographs.paths[index])
        needed = smallest_photograph(size, self.options)
        if photograph.shape[0] < needed[0] or photograph.shape[1] < needed[1]:
            raise self._too_small(index, (photograph.shape[0], photograph.shape[1]), size)
        pair = draw_pair(photograph, size, self.options, np.random.default_rng(seed))
        item: dict[str, Tensor | str] = {
            'lq': _to_tensor(pair.blurred.astype(np.float32) / 255),
            'gt': _to_tensor(pair.sharp),
            'lq_path': path,
            'gt_path': path,
        }
        if self.options.return_kernel:
            kernel = centred(pair.blur.kernel(), 2 * self.options.margin + 1)
            item['kernel'] = torch.from_numpy(kernel.astype(np.float32))
        return item

    def check_crop(self, size: tuple[int, int]) -> None:
        """Refuse a crop that a photograph is too small for, naming the first one by its header.

        Args:
            size: Height and width in pixels.

        Raises:
            DataError: Naming the photograph.
        """
        found = self.photographs.first_too_small(smallest_photograph(size, self.options))
        if found is not None:
            raise self._too_small(*found, size)

    def _too_small(self, index: int, found: tuple[int, int], size: tuple[int, int]) -> DataError:
        needed = smallest_photograph(size, self.options)
        return DataError(
            f'{self.photographs.paths[index]}: {found[1]} x {found[0]} pixels are too few: crops of gt_size with the '
            f'surroundings that blur in need {needed[1]} x {needed[0]}. Remove the photograph, or lower gt_size.'
        )


def _to_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))
