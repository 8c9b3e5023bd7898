"""What the data sets of pairs have in common: cropping, mirroring and padding both images alike."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from basicsr.utils.dist_util import get_dist_info
from torch import Tensor
from torch.utils.data import Dataset

from deeprftv2_arch.config.schema import PairedOptions
from deeprftv2_arch.data.augmentation import Symmetries, random_crop, random_symmetry
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.paired_images import PairedImages, to_tensor
from deeprftv2_arch.utils.errors import UserError

if TYPE_CHECKING:
    from deeprftv2_arch.data.sampling import Sample

SYMMETRIES = {
    0: Symmetries(left_right=False, top_bottom=False, transpose=False),
    4: Symmetries(left_right=True, top_bottom=True, transpose=False),
    8: Symmetries(left_right=True, top_bottom=True, transpose=True),
}
"""The symmetries that ``augmentation`` stands for, by their number."""


class PairedDataset(Dataset):
    """Degraded and good images, paired by name, for training and validation.

    Training cuts a random rectangle and turns or mirrors it; validation returns whole images. Images of any depth are
    scaled by the maximum of their type.

    Args:
        opt: The data set's section of the option file; ``Options`` declares its keys.

    Attributes:
        opt: The same, for BasicSR.
        options: The same with typed values.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    Options: ClassVar[type[PairedOptions]] = PairedOptions
    """The keys that may stand in an option file, see :mod:`deeprftv2_arch.config.options`."""

    takes_samples = True
    """Whether items can be asked for by a Sample; the training's loader looks for this."""

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.where = dataset_place(opt)
        self.opt = opt
        self.options = self.Options.read(written_options(opt), self.where, type(self).__name__)
        self.training = _phase(opt) == 'train'
        self.scale = self.options.scale or 1
        self.symmetries = _symmetries(self.options, self.training, self.where)
        self.pad_to: tuple[int, int] | None = None
        self.crop_size = self.options.gt_size if self.training else None
        if self.crop_size is not None:
            self._check_shape(self.crop_size)
        self.images = PairedImages(self.options, self.where, self.scale)
        if self.training:
            _check_batches(self.options, len(self), self.where)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> list[str]:
        """Names of the good images, in order, below their root and without suffix: as folders and LMDBs share them."""
        paths = (pair.gt.removeprefix(self.images.roots['gt']) for pair in self.images.pairs)
        return [os.path.splitext(path)[0].lstrip('/' + os.sep) for path in paths]

    def __getitem__(self, sample: int | Sample) -> dict[str, Tensor | str | tuple[int, int]]:
        """Return one pair.

        Args:
            sample: Number of the pair. A :class:`~deeprftv2_arch.data.sampling.Sample` names the size of the training
                crop and the seed of its random numbers too; without it they come from PyTorch's generator.

        Returns:
            ``lq`` and ``gt``: float32 (3, H, W), RGB in [0, 1]; ``lq_path`` and ``gt_path``: paths, or LMDB keys. In
            validation with ``pad_to``, ``lq`` alone is padded, and ``pad`` tells how many rows at the bottom and
            columns at the right of it are to be cut off from what the network makes of it.

        Raises:
            DataError: If an image cannot be read, if the two do not fit together, or if they are smaller than the crop.
        """
        index, crop_size, seed = sample if isinstance(sample, tuple) else (sample, None, None)
        pair = self.images.pairs[index]
        lq, gt = self.images.read(index)
        height, width = gt.shape[:2]
        lq = self._padded(lq)
        item: dict[str, Any] = {'lq_path': pair.lq, 'gt_path': pair.gt}
        if self.training:
            generator = None if seed is None else torch.Generator().manual_seed(seed)
            gt = self._padded(gt)
            size = self._crop_size(crop_size, gt, index)
            lq, gt = random_crop(lq, gt, size, scale=self.scale, generator=generator)
            lq, gt = random_symmetry(lq, gt, self.symmetries, generator=generator)
        elif self.pad_to is not None:
            item['pad'] = (lq.shape[0] - height, lq.shape[1] - width)
        return {'lq': to_tensor(lq), 'gt': to_tensor(gt), **item}

    def check_crop(self, size: tuple[int, int]) -> None:
        """Refuse a training crop that cannot be turned as the options say, or that an image is too small for.

        Args:
            size: Height and width in pixels.

        Raises:
            UserError: If the crop does not fit the scale, or is not square and transpositions are asked for: a batch
                could not be stacked; or naming the first image that is too small by its header.
        """
        self._check_shape(size)
        pad_to = self.pad_to or (0, 0)
        needed = (size[0] if size[0] > pad_to[0] else 0, size[1] if size[1] > pad_to[1] else 0)
        found = self.images.first_too_small(needed)
        if found is not None:
            raise self._too_small(*found, size)

    def _check_shape(self, size: tuple[int, int]) -> None:
        if size[0] % self.scale or size[1] % self.scale:
            raise UserError(f'{self.where}: crops of gt_size {list(size)} are not multiples of scale: {self.scale}.')
        if size[0] != size[1] and self.symmetries.transpose:
            raise UserError(
                f'{self.where}: crops of gt_size {list(size)} are not square, so they cannot be turned by 90 degrees. '
                'Set augmentation: 4, or 0.'
            )

    def _padded(self, image: np.ndarray) -> np.ndarray:
        return image if self.pad_to is None else _zero_pad(image, self.pad_to)

    def _crop_size(self, size: tuple[int, int] | None, gt: np.ndarray, index: int) -> tuple[int, int]:
        """The size of this sample's crop, which must fit into the image."""
        size = size or self.crop_size
        if size is None:
            raise DataError(f'{self.where}.gt_size is missing: the size of the training crops. Or give train.stages.')
        height, width = gt.shape[:2]
        if height < size[0] or width < size[1]:
            raise self._too_small(index, (height, width), size)
        return size

    def _too_small(self, index: int, found: tuple[int, int], size: tuple[int, int]) -> DataError:
        asked = size[0] if size[0] == size[1] else list(size)
        ways = 'lower gt_size'
        if 'pad_to' in self.Options.model_fields:
            ways += ', or bring it to size with pad_to'
        return DataError(
            f'{self.images.place(self.images.pairs[index].gt, "gt")}: {found[1]} x {found[0]} pixels are smaller than '
            f'the training crop gt_size: {asked}. Remove the pair, or {ways}.'
        )


def written_options(opt: Mapping[str, Any]) -> dict[str, Any]:
    """The section as it may stand in an option file, without what BasicSR adds."""
    return {key: value for key, value in opt.items() if key != 'phase'}


def dataset_place(opt: Mapping[str, Any]) -> str:
    """What to call the section of a data set in a message."""
    return f'datasets.{opt.get("phase", "?")} ({opt.get("name", "unnamed")})'


def _zero_pad(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bring an image (H, W, C) to at least this height and width by zeros at the bottom and the right."""
    height, width, channels = image.shape
    if height >= size[0] and width >= size[1]:
        return image
    padded = np.zeros((max(height, size[0]), max(width, size[1]), channels), image.dtype)
    padded[:height, :width] = image
    return padded


def _phase(opt: Mapping[str, Any]) -> str:
    phase = opt.get('phase')
    if not isinstance(phase, str):
        raise UserError(f'{dataset_place(opt)}.phase: expected text, got {phase!r}.')
    return phase


def _symmetries(options: PairedOptions, training: bool, where: str) -> Symmetries:
    """The symmetries that ``augmentation``, or BasicSR's ``use_hflip`` and ``use_rot``, ask for."""
    if 'augmentation' not in options.model_fields_set:
        turn = options.use_rot
        return Symmetries(left_right=options.use_hflip, top_bottom=turn, transpose=turn)
    if options.augmentation and not training:
        raise UserError(f'{where}.augmentation: only training data are turned and mirrored. Remove it.')
    return SYMMETRIES[options.augmentation]


def _check_batches(options: PairedOptions, pairs: int, where: str) -> None:
    """Refuse a batch larger than an epoch: BasicSR drops incomplete batches and would end without one iteration."""
    batch = options.batch_size_per_gpu
    if batch is None:
        return  # built by hand, without BasicSR's loader
    _, processes = get_dist_info()
    if math.ceil(pairs * options.dataset_enlarge_ratio / processes) < batch:
        raise UserError(
            f'{where}.batch_size_per_gpu: {batch} is more than the {pairs} pairs of an epoch shared by {processes} '
            f'process(es). Set dataset_enlarge_ratio to at least {math.ceil(batch * processes / pairs)}, or lower it.'
        )
