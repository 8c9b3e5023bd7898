"""Pairs of a blurred and a sharp photograph, from folders or LMDBs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from basicsr.utils import FileClient
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor
from torch.utils.data import Dataset

from deeprftv2_arch.data.augmentation import random_crop, random_symmetry
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import FULL_SCALE, decode_image
from deeprftv2_arch.data.lmdb_store import pair_lmdbs, read_lmdb
from deeprftv2_arch.data.pairing import ImagePair, pair_folders, pair_list
from deeprftv2_arch.errors import UserError
from deeprftv2_arch.option_keys import positive_integer, reject_unknown_keys

_OWN_KEYS = (
    *('name', 'type', 'phase', 'scale', 'dataroot_gt', 'dataroot_lq', 'io_backend', 'meta_info_file', 'filename_tmpl'),
    *('recursive', 'gt_size', 'use_hflip', 'use_rot'),
)
_LOADER_KEYS = (
    *('num_worker_per_gpu', 'batch_size_per_gpu', 'dataset_enlarge_ratio', 'prefetch_mode', 'num_prefetch_queue'),
    *('pin_memory', 'persistent_workers', 'use_shuffle'),
)


@DATASET_REGISTRY.register()
class PairedDeblurDataset(Dataset):
    """Blurred and sharp images of equal size, paired by name, for training and validation.

    Pairs are made by file stem, so ``000.jpg`` and ``000.png`` are partners; by the lines of a list
    (``meta_info_file``, see :func:`~deeprftv2_arch.data.pairing.pair_list`); or by LMDB key. 8- and 16-bit images are
    divided by the white of their own depth. Training cuts a random square and turns or mirrors it; validation returns
    whole images, untouched.

    Args:
        opt: The data set's section of the option file:

            * ``dataroot_gt``, ``dataroot_lq``: folders (or LMDBs) of the sharp and the blurred images.
            * ``io_backend``: ``{type: disk}`` or ``{type: lmdb}``; the latter takes ``readahead`` too.
            * ``recursive``: take sub-folders too (folders only, default false).
            * ``meta_info_file``, ``filename_tmpl``: list of pairs; blurred stem from sharp stem (default ``'{}'``).
            * ``gt_size``: side of the training crop in pixels.
            * ``use_hflip``, ``use_rot``: mirror; turn (both default true in training).
            * ``phase``: ``train``, ``val`` or ``test``, set by BasicSR. ``scale``: absent or 1.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        where = f'datasets.{opt.get("phase", "?")} ({opt.get("name", "unnamed")})'
        reject_unknown_keys(opt, _OWN_KEYS + _LOADER_KEYS, where)
        for key in ('phase', 'dataroot_gt', 'dataroot_lq'):
            if not isinstance(opt.get(key), str):
                raise UserError(f'{where}.{key}: expected text, got {opt.get(key)!r}.')
        if opt.get('scale', 1) != 1:
            raise UserError(
                f'{where}.scale: blurred and sharp images have the same size, so scale must be 1 or absent.'
            )
        self.opt = opt
        self.training = opt['phase'] == 'train'
        self.roots = {'gt': opt['dataroot_gt'], 'lq': opt['dataroot_lq']}
        self.backend = dict(opt.get('io_backend') or {'type': 'disk'})
        self.pairs = self._find_pairs(where)
        if self.training:
            self.crop_size = positive_integer(opt, 'gt_size', where)
            _check_batches(opt, len(self.pairs), where)

    def _find_pairs(self, where: str) -> list[ImagePair]:
        kind, roots = self.backend.get('type'), (self.roots['gt'], self.roots['lq'])
        list_file = self.opt.get('meta_info_file')
        template, recursive = self.opt.get('filename_tmpl', '{}'), self.opt.get('recursive', False)
        if kind == 'lmdb':
            reject_unknown_keys(self.backend, ('type', 'readahead'), f'{where}.io_backend')
            if list_file or template != '{}' or recursive:
                raise UserError(
                    f'{where}: meta_info_file, filename_tmpl and recursive are for folders; the pairs of an LMDB have '
                    'equal keys. Remove them.'
                )
            return pair_lmdbs(*roots)
        if kind == 'disk':
            reject_unknown_keys(self.backend, ('type',), f'{where}.io_backend')
            if list_file:
                return pair_list(*roots, list_file=list_file, template=template)
            return pair_folders(*roots, template=template, recursive=recursive)
        raise UserError(f'{where}.io_backend.type: expected disk or lmdb, got {kind!r}.')

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Tensor | str]:
        """Return one pair.

        Returns:
            ``lq`` and ``gt``: float32 (3, H, W), RGB in [0, 1]; ``lq_path`` and ``gt_path``: paths, or LMDB keys.

        Raises:
            DataError: If an image cannot be read, if the two differ in size, or if they are smaller than the crop.
        """
        pair = self.pairs[index]
        images = [self._read(pair.lq, 'lq'), self._read(pair.gt, 'gt')]
        self._check_sizes(pair, *images)
        if self.training:
            images = random_crop(images, self.crop_size)
            images = random_symmetry(images, flip=self.opt.get('use_hflip', True), rotate=self.opt.get('use_rot', True))
        lq, gt = map(_to_tensor, images)
        return {'lq': lq, 'gt': gt, 'lq_path': pair.lq, 'gt_path': pair.gt}

    def _read(self, name: str, role: str) -> np.ndarray:
        if self.backend['type'] == 'lmdb':
            root = self.roots[role]
            data = read_lmdb(root, name, readahead=self.backend.get('readahead', False))
            return decode_image(data, f'{root}, key {name!r}')
        try:
            data = FileClient('disk').get(name)
        except OSError as error:
            raise DataError(f'{name}: cannot read the image: {error.strerror or error}.') from error
        return decode_image(data, name)

    def _check_sizes(self, pair: ImagePair, lq: np.ndarray, gt: np.ndarray) -> None:
        (lq_height, lq_width), (height, width) = lq.shape[:2], gt.shape[:2]
        if (lq_height, lq_width) != (height, width):
            raise DataError(
                f'The images of a pair differ in size: {pair.lq} of {self.roots["lq"]} has {lq_width} x {lq_height} '
                f'pixels, {pair.gt} of {self.roots["gt"]} has {width} x {height}. Replace the wrong one.'
            )
        if self.training and min(height, width) < self.crop_size:
            raise DataError(
                f'{pair.gt}: {width} x {height} pixels are smaller than the training crop gt_size: {self.crop_size}. '
                'Remove the pair or lower gt_size.'
            )


def _to_tensor(image: np.ndarray) -> Tensor:
    """Turn (H, W, 3) in BGR order at the depth of the file into float32 (3, H, W), RGB in [0, 1]."""
    values = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)).astype(np.float32)
    values /= np.float32(FULL_SCALE[image.dtype])
    return torch.from_numpy(values)


def _check_batches(opt: Mapping[str, Any], pairs: int, where: str) -> None:
    """Refuse a batch larger than an epoch: the toolbox drops incomplete batches and would end without one iteration."""
    if 'batch_size_per_gpu' not in opt:
        return  # built by hand, without the toolbox's loader
    batch = positive_integer(opt, 'batch_size_per_gpu', where)
    _, processes = get_dist_info()
    if math.ceil(pairs * opt.get('dataset_enlarge_ratio', 1) / processes) < batch:
        raise UserError(
            f'{where}.batch_size_per_gpu: {batch} is more than the {pairs} pairs of an epoch shared by {processes} '
            f'process(es). Set dataset_enlarge_ratio to at least {math.ceil(batch * processes / pairs)}, or lower it.'
        )
