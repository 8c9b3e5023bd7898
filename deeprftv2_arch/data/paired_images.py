"""The pairs of a data set, wherever they are kept, and how one of them is read."""

from __future__ import annotations

import re

import numpy as np
import torch
from basicsr.utils import get_root_logger
from torch import Tensor

from deeprftv2_arch.config.schema import IoBackend, PairedOptions
from deeprftv2_arch.data.errors import DataError
from deeprftv2_arch.data.image_file import FULL_SCALE, decode_image, read_image_file
from deeprftv2_arch.data.image_size import first_too_small, size_in_header
from deeprftv2_arch.data.lmdb_store import pair_lmdbs, peek_lmdb, read_lmdb
from deeprftv2_arch.data.pairing import ImagePair, lmdb_sizes, pair_folders, pair_list
from deeprftv2_arch.utils.errors import UserError

_GAMMA = re.compile(r'(?:^|[/\\])blur_gamma[^/\\]*')


class PairedImages:
    """Pairs of a degraded and a good photograph in folders or LMDBs.

    Pairs are made by file stem, so ``000.jpg`` and ``000.png`` are partners; by the lines of a list
    (``meta_info_file``, see :func:`~deeprftv2_arch.data.pairing.pair_list`); or by LMDB key.

    Args:
        options: The data set's section of the option file.
        where: What to call that section in a message.
        scale: How many pixels of the good image stand for one of the degraded image, along each side.

    Raises:
        UserError: If a key, a folder, a list or a pairing is wrong.
    """

    def __init__(self, options: PairedOptions, where: str, scale: int = 1) -> None:
        self.bit_depth = options.bit_depth
        self.scale = scale
        self.roots = {'gt': options.dataroot_gt, 'lq': options.dataroot_lq}
        self.backend = options.io_backend or IoBackend()
        self.pairs = self._find_pairs(options)
        self._check_names(options, where)
        if self.bit_depth == 8:
            self._tell_depth(where)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a pair.

        Returns:
            The degraded image, (H, W, 3), and the good one, (H * scale, W * scale, 3), both in BGR order and of the
            same type, one of those in ``FULL_SCALE``.

        Raises:
            DataError: If an image cannot be read, or if the two do not fit together.
        """
        pair = self.pairs[index]
        lq, gt = self._decode(pair.lq, 'lq'), self._decode(pair.gt, 'gt')
        if lq.dtype != gt.dtype:
            raise DataError(
                f'The images of a pair differ in depth: {self.place(pair.lq, "lq")} is {lq.dtype}, '
                f'{self.place(pair.gt, "gt")} is {gt.dtype}. Replace the wrong one, or set bit_depth: 8 to read both '
                'with 8 bits.'
            )
        height, width = lq.shape[0] * self.scale, lq.shape[1] * self.scale
        # A small image is made from as much of the large one as the scale divides; the rest of it has no partner.
        if not (0 <= gt.shape[0] - height < self.scale and 0 <= gt.shape[1] - width < self.scale):
            problem = 'differ in size' if self.scale == 1 else f'do not have sizes at a scale of {self.scale}'
            raise DataError(
                f'The images of a pair {problem}: {self.place(pair.lq, "lq")} has {lq.shape[1]} x '
                f'{lq.shape[0]} pixels, {self.place(pair.gt, "gt")} has {gt.shape[1]} x {gt.shape[0]} pixels. Replace '
                'the wrong one.'
            )
        return lq, gt[:height, :width]

    def first_too_small(self, needed: tuple[int, int]) -> tuple[int, tuple[int, int]] | None:
        """Find the first pair whose good image has not this height and width: by the headers of files, or in an LMDB by
        its meta file.

        Returns:
            The number of the pair, and height and width of its good image.
        """
        listed = lmdb_sizes(self.roots['gt']) if self.backend.type == 'lmdb' else {}

        def header(index: int) -> tuple[int, int] | None:
            name = self.pairs[index].gt
            return listed.get(name) if self.backend.type == 'lmdb' else size_in_header(name)

        def exact(index: int) -> tuple[int, int]:
            pair = self.pairs[index]
            data = self._load(pair.gt, 'gt', peek=True)
            height, width = decode_image(data, self.place(pair.gt, 'gt'), self.bit_depth).shape[:2]
            return height, width

        return first_too_small(range(len(self)), needed, header=header, exact=exact)

    def place(self, name: str, role: str) -> str:
        """What to call an image in a message: its path, or the LMDB and the key."""
        return f'{self.roots[role]}, key {name!r}' if self.backend.type == 'lmdb' else name

    def _find_pairs(self, options: PairedOptions) -> list[ImagePair]:
        roots, template = (self.roots['gt'], self.roots['lq']), options.filename_tmpl
        if self.backend.type == 'lmdb':
            return pair_lmdbs(*roots)
        if options.meta_info_file:
            return pair_list(*roots, list_file=options.meta_info_file, template=template)
        return pair_folders(*roots, template=template, recursive=options.recursive)

    def _check_names(self, options: PairedOptions, where: str) -> None:
        """Refuse an image that is its own partner, and GoPro's second set of blurred images."""
        lmdb = self.backend.type == 'lmdb'
        for pair in self.pairs:
            lq, gt = (f'{self.roots["lq"]}/{pair.lq}', f'{self.roots["gt"]}/{pair.gt}') if lmdb else pair
            if lq == gt:
                raise UserError(f'{where}: {lq} stands for the blurred and for the sharp image. Correct the paths.')
            if (gamma := _GAMMA.search(lq)) and not options.allow_gamma:
                raise UserError(
                    f'{where}.dataroot_lq: {lq[: gamma.end()]} holds the gamma-corrected blur of GoPro. The published '
                    'figures are for blur: take that folder, or set allow_gamma: true to go on with this one.'
                )

    def _tell_depth(self, where: str) -> None:
        """Say so if the files are read with fewer bits than they have, judging by the first pair."""
        for name, role in zip(self.pairs[0], ('lq', 'gt'), strict=True):
            if decode_image(self._load(name, role, peek=True), self.place(name, role)).dtype == np.uint16:
                get_root_logger().info(
                    f'{where}: {self.place(name, role)} has 16 bits. It and all files like it are read with 8, as '
                    'OpenCV does (bit_depth: 8).'
                )
                return

    def _decode(self, name: str, role: str) -> np.ndarray:
        return decode_image(self._load(name, role), self.place(name, role), self.bit_depth)

    def _load(self, name: str, role: str, *, peek: bool = False) -> bytes:
        if self.backend.type == 'lmdb':
            if peek:
                return peek_lmdb(self.roots[role], name)
            return read_lmdb(self.roots[role], name, readahead=self.backend.readahead)
        return read_image_file(name)


def to_tensor(image: np.ndarray) -> Tensor:
    """Turn (H, W, 3) in BGR order at the depth of the file into float32 (3, H, W), RGB in [0, 1]."""
    values = np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1)).astype(np.float32)
    values /= np.float32(FULL_SCALE[image.dtype])
    return torch.from_numpy(values)
